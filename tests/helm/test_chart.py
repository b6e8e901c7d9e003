"""What every manifest of the chart must be: valid, restricted, least in rights, and made of settings that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.settings import Settings
from tests.helm.charts import HELM, MINIMUM, ROOT, Objects, Refused, binary, one, render

EVERYTHING: dict[str, Any] = {
    "flower.enabled": True, "flower.image.repository": "registry.example/flower", "flower.existingSecret": "flower",
    "app.autoscaling.enabled": True, "app.workspaces.enabled": True, "app.workspaces.accessModes": ["ReadWriteMany"],
    "app.preStopDelaySeconds": 15, "worker.keda.enabled": True, "worker.keda.serverAddress": "http://prometheus",
    "ingress.enabled": True, "ingress.host": "podwire.example", "ingress.tlsSecret": "tls", "httpRoute.enabled": True,
    "httpRoute.hostnames": ["podwire.example"], "metrics.serviceMonitor.enabled": True, "metrics.prometheusRule.enabled": True,
    "runs.networkPolicy.egress.dns": True, "runs.networkPolicy.egress.internet": True, "dev.enabled": True,
    "commonLabels": {"team": "a"}, "commonAnnotations": {"note": "b"},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
    "settings": {"max_queue": 20_000_000, "languages": {"python": ["python3"]}, "ageing_s": 1.5, "secure_cookies": True},
}  # fmt: skip
OF_OTHERS = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "HTTPRoute"}
VERSIONS = ["1.29", "1.31", "1.34", "1.35"]
# A container of run's image that must start as its own user.
PODS = ("Deployment", "Job")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_manifest_is_what_the_schema_says(version: str, values: dict[str, Any]) -> None:
    for manifest in render(values):
        if manifest["kind"] not in OF_OTHERS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_find_what_is_wrong() -> None:
    manifest = one(render(), "Deployment", "-web")
    manifest["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.34", strict=True)


@pytest.mark.trap("D14")
def test_lint_finds_nothing() -> None:
    done = subprocess.run(
        [binary(), "lint", "--strict", str(HELM), "-f", str(MINIMUM)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_written_from_the_values_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "chart-docs"), "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path",
    [
        "extra",
        "app.replicas",
        "app.workspaces.mode",
        "runs.networkPolicy.egress.all",
        "settings.max_activ",
        "settings.redis_url",
        "dev.redis.tag",
    ],
)
def test_unknown_values_are_refused(path: str) -> None:
    with pytest.raises(Refused, match=path.rsplit(".", 1)[-1]):
        render({path: 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image.repository": ""}, r"image\.repository"),
        ({"database.existingSecret": ""}, r"database\.existingSecret"),
        ({"redis.url": "redis://x"}, r"redis\.url and redis\.existingSecret"),
        ({"flower.enabled": True, "flower.image.repository": "x"}, r"flower\.existingSecret"),
        ({"worker.keda.enabled": True}, r"worker\.keda\.serverAddress"),
        ({"ingress.enabled": True}, r"ingress\.host"),
        ({"runs.namespace": "podwire"}, r"runs\.namespace"),
    ],
)
def test_what_cannot_work_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        render(values)


def pods(objects: Objects) -> list[dict[str, Any]]:
    """Return the spec of every pod that the chart makes."""
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in PODS]


def test_every_pod_is_restricted() -> None:
    found = pods(render(EVERYTHING))
    assert len(found) == 6
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["enableServiceLinks"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True and context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]} and "memory" in container["resources"]["limits"]


def test_only_web_and_workers_have_a_token() -> None:
    objects = [o for o in render(EVERYTHING) if o["kind"] in PODS]
    with_token = {
        o["metadata"]["labels"]["app.kubernetes.io/component"]
        for o in objects
        if o["spec"]["template"]["spec"]["automountServiceAccountToken"]
    }
    assert with_token == {"web", "worker"}


def test_rights_are_the_documented_ones() -> None:
    documented = [o for o in yaml.safe_load_all((ROOT / "docs" / "kubernetes-rbac.yaml").read_text()) if o["kind"] == "Role"]
    role = one(render(), "Role")
    assert role["rules"] == documented[0]["rules"] and role["metadata"]["namespace"] == "podwire-runs"
    assert not [o for o in render(EVERYTHING) if o["kind"].startswith("Cluster")]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e.get("value", "x" * 32) for e in container["env"] if e["name"].startswith("PODWIRE_")}


@pytest.mark.parametrize("component", ["-web", "-worker", "-flower"])
def test_the_environment_reads_back_as_settings(component: str) -> None:
    (container,) = one(render(EVERYTHING), "Deployment", component)["spec"]["template"]["spec"]["containers"]
    settings = Settings.from_env(environment(container))
    assert (settings.max_queue, settings.ageing_s, settings.secure_cookies) == (20_000_000, 1.5, True)
    assert settings.parsed("languages") == {"python": ["python3"]} and settings.kube_namespace == "podwire-runs"
    assert settings.kube_agent_image == "registry.example/podwire:0.1.0"


@pytest.mark.trap("D16")
def test_migrations_are_one_job_of_the_revision_and_no_hook() -> None:
    objects = render()
    job = one(objects, "Job")
    assert job["metadata"]["name"].endswith("-migrate-1") and "helm.sh/hook" not in job["metadata"].get("annotations", {})
    for ending in ("-web", "-worker"):
        (wait,) = one(objects, "Deployment", ending)["spec"]["template"]["spec"]["initContainers"]
        assert wait["args"] == ["migrate", "--wait", "600"]
    commands = [c["args"] for pod in pods(objects) for c in pod["containers"]]
    assert [words for words in commands if words[0] == "migrate"] == [["migrate"]]


def test_runs_are_denied_everything_unless_a_switch_says_so() -> None:
    (policy,) = [o for o in render() if o["kind"] == "NetworkPolicy"]
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    opened = one(render(EVERYTHING), "NetworkPolicy", "-egress")["spec"]
    assert opened["podSelector"] == {"matchExpressions": [{"key": "podwire.dev/network", "operator": "NotIn", "values": ["off"]}]}
    assert opened["egress"][1]["to"][0]["ipBlock"]["cidr"] == "0.0.0.0/0"
    assert "169.254.0.0/16" in opened["egress"][1]["to"][0]["ipBlock"]["except"]
    assert one(render(), "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_secrets_that_exist_are_used_and_none_is_made() -> None:
    given = {"secretKey.existingSecret": "key", "secretKey.key": "k"}
    objects = render(given)
    assert not [o for o in objects if o["kind"] == "Secret"]
    (container,) = one(objects, "Deployment", "-web")["spec"]["template"]["spec"]["containers"]
    sources = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container["env"] if "valueFrom" in e}
    assert sources["PODWIRE_SECRET_KEY"] == {"name": "key", "key": "k"}
    assert sources["PODWIRE_DATABASE_URL"] == {"name": "podwire-database", "key": "url"}


def test_alerts_ask_for_metrics_that_exist() -> None:
    from app.domain import metrics

    rule = one(render(EVERYTHING), "PrometheusRule")
    text = Path(metrics.__file__).read_text()
    alerts = rule["spec"]["groups"][0]["rules"]
    assert len(alerts) == 6
    for alert in alerts:
        words = [word for word in _words(alert["expr"]) if word.startswith("podwire_")]
        assert words and all(f'"{word}"' in text for word in words), alert["expr"]


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
