"""What every manifest of the chart must be: valid, restricted, least in rights, and made of settings that exist."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from config.settings import Settings
from tests.helm import crds
from tests.helm.charts import HELM, MINIMUM, ROOT, Objects, Refused, binary, one, render

KEDA = {"worker.keda.enabled": True, "worker.keda.serverAddress": "http://prometheus"}
EVERYTHING: dict[str, Any] = {
    "flower.enabled": True, "flower.existingSecret": "flower",
    "app.autoscaling.enabled": True, "app.workspaces.enabled": True, "app.workspaces.accessModes": ["ReadWriteMany"],
    "app.preStopDelaySeconds": 15, **KEDA,
    "ingress.enabled": True, "ingress.host": "podwire.example", "ingress.tlsSecret": "tls", "httpRoute.enabled": True,
    "httpRoute.parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
    "httpRoute.hostnames": ["podwire.example"], "metrics.serviceMonitor.enabled": True,
    "metrics.prometheusRule.enabled": True, "metrics.dashboard.enabled": True,
    "runs.networkPolicy.egress.dns": True, "runs.networkPolicy.egress.internet": True, "dev.enabled": True,
    "commonLabels": {"team": "a"}, "commonAnnotations": {"note": "b"},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
    "settings": {"max_queue": 20_000_000, "languages": {"python": ["python3"]}, "ageing_s": 1.5, "secure_cookies": True},
}  # fmt: skip
HPA = {**EVERYTHING, "worker.keda.enabled": False, "worker.autoscaling.enabled": True}
OF_OTHERS = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "HTTPRoute"}
VERSIONS = ["1.29", "1.31", "1.33", "1.35", "1.37"]
PODS = ("Deployment", "Job", "Pod")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING, HPA], ids=["defaults", "everything", "hpa"])
def test_every_manifest_is_what_the_schema_says(version: str, values: dict[str, Any]) -> None:
    for manifest in render(values):
        if manifest["kind"] in OF_OTHERS:
            crds.validate(manifest)
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_has_every_kind() -> None:
    text = "".join(path.read_text() for path in (HELM / "templates").rglob("*.yaml"))
    kinds = {line.removeprefix("kind: ") for line in text.splitlines() if line.startswith("kind: ")}
    assert kinds == {one["kind"] for one in render(EVERYTHING)} >= OF_OTHERS


def test_the_schemas_find_what_is_wrong() -> None:
    manifest = one(render(), "Deployment", "-web")
    manifest["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.34", strict=True)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ServiceMonitor", "endpoints.0.port", 8080),
        ("ServiceMonitor", "selectors", {}),
        ("PrometheusRule", "groups.0.rules.0.for", "soon"),
        ("ScaledObject", "maxReplicaCount", "10"),
        ("ScaledObject", "triggers.0.metadata.threshold", 48),
        ("HTTPRoute", "rules.0.timeouts.request", "0"),
        ("HTTPRoute", "parentRefs.0.name", None),
    ],
)
def test_the_schemas_of_others_find_what_is_wrong(kind: str, path: str, value: object) -> None:
    manifest = next(one for one in render(EVERYTHING) if one["kind"] == kind)
    crds.validate(manifest)
    *folders, last = path.split(".")
    place = manifest["spec"]
    for folder in folders:
        place = place[int(folder) if folder.isdigit() else folder]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        crds.validate(manifest)


def test_the_workers_are_scaled_by_an_external_metric_where_that_is_wanted() -> None:
    objects = render({**HPA, "worker.autoscaling.metricLabels": {"cluster": "a"}})
    spec = one(objects, "HorizontalPodAutoscaler", "-worker")["spec"]
    assert spec["scaleTargetRef"]["name"] == one(objects, "Deployment", "-worker")["metadata"]["name"]
    assert spec["metrics"][0]["external"] == {
        "metric": {
            "name": "podwire_queued_and_active",
            "selector": {"matchLabels": {"namespace": "podwire", "cluster": "a"}},
        },
        "target": {"type": "AverageValue", "averageValue": "48"},
    }
    assert "replicas" not in one(objects, "Deployment", "-worker")["spec"]
    assert one(objects, "PodDisruptionBudget", "-worker") and not [o for o in objects if o["kind"] == "ScaledObject"]


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
        ({"flower.enabled": True}, r"flower\.existingSecret"),
        ({"worker.keda.enabled": True}, r"worker\.keda\.serverAddress"),
        ({**KEDA, "worker.autoscaling.enabled": True}, r"worker\.keda\.enabled and worker\.autoscaling\.enabled"),
        ({"worker.autoscaling.enabled": True, "worker.autoscaling.maxReplicas": 1}, r"worker\.autoscaling\.minReplicas"),
        ({"ingress.enabled": True}, r"ingress\.host"),
        ({"httpRoute.enabled": True}, r"httpRoute\.parentRefs"),
        ({"runs.namespace": "podwire"}, r"runs\.namespace"),
    ],
)
def test_what_cannot_work_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        render(values)


def pods(objects: Objects) -> list[dict[str, Any]]:
    """Return the spec of every pod that the chart makes."""
    return [spec_of(o) for o in objects if o["kind"] in PODS]


def spec_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of the manifest's pod."""
    return dict(manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"])


def test_every_pod_is_restricted() -> None:
    found = pods(render(EVERYTHING))
    assert len(found) == 7
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
        o["metadata"]["labels"]["app.kubernetes.io/component"] for o in objects if spec_of(o)["automountServiceAccountToken"]
    }
    assert with_token == {"web", "worker"}


def test_rights_are_the_documented_ones() -> None:
    documented = [o for o in yaml.safe_load_all((ROOT / "docs" / "kubernetes-rbac.yaml").read_text()) if o["kind"] == "Role"]
    role = one(render(), "Role")
    assert role["rules"] == documented[0]["rules"] and role["metadata"]["namespace"] == "podwire-runs"
    assert not [o for o in render(EVERYTHING) if o["kind"].startswith("Cluster")]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e.get("value", "x" * 32) for e in container["env"] if e["name"].startswith("PODWIRE_")}


@pytest.mark.parametrize("component", ["-web", "-worker"])
def test_the_environment_reads_back_as_settings(component: str) -> None:
    (container,) = one(render(EVERYTHING), "Deployment", component)["spec"]["template"]["spec"]["containers"]
    settings = Settings.from_env(environment(container))
    assert (settings.max_queue, settings.ageing_s, settings.secure_cookies) == (20_000_000, 1.5, True)
    assert settings.parsed("languages") == {"python": ["python3"]} and settings.kube_namespace == "podwire-runs"
    assert settings.kube_agent_image == "registry.example/podwire:0.1.0"


def test_flower_gets_the_broker_a_password_and_nothing_else() -> None:
    (container,) = one(render(EVERYTHING), "Deployment", "-flower")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/podwire:0.1.0" and container["args"][0] == "flower"
    sources = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container["env"]}
    assert sources == {
        "PODWIRE_REDIS_URL": {"name": "podwire-redis", "key": "url"},
        "FLOWER_BASIC_AUTH": {"name": "flower", "key": "basic-auth"},
    }
    other = {**EVERYTHING, "flower.image.repository": "registry.example/flower", "settings": {"log_format": "json"}}
    (container,) = one(render(other), "Deployment", "-flower")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/flower:0.1.0"
    assert {"name": "PODWIRE_LOG_FORMAT", "value": "json"} in container["env"]


def test_prometheus_scrapes_flower_where_it_runs() -> None:
    def monitored(values: dict[str, Any]) -> list[str]:
        found = [o["spec"]["selector"]["matchLabels"] for o in render(values) if o["kind"] == "ServiceMonitor"]
        return [labels["app.kubernetes.io/component"] for labels in found]

    assert monitored(EVERYTHING) == ["web", "flower"]
    assert monitored({**EVERYTHING, "flower.enabled": False}) == ["web"]


def test_the_ingress_passes_streams_and_uploads() -> None:
    def notes(values: dict[str, Any]) -> dict[str, str]:
        found = one(render({**EVERYTHING, **values}), "Ingress")["metadata"]["annotations"]
        return {key.removeprefix("nginx.ingress.kubernetes.io/"): value for key, value in found.items()}

    plain = notes({})
    assert (plain["proxy-read-timeout"], plain["proxy-buffering"]) == ("3600", "off")
    assert plain["proxy-body-size"] == str(Settings.max_request_bytes)
    assert notes({"settings": {"max_request_bytes": 200 * 1024**2}})["proxy-body-size"] == str(200 * 1024**2)
    mine = {"nginx.ingress.kubernetes.io/proxy-body-size": "1m"}
    assert notes({"ingress.annotations": mine})["proxy-body-size"] == "1m"


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


def test_a_pod_for_helm_test_asks_the_service_and_gets_no_requests() -> None:
    objects = render({"service.port": 81})
    pod, service = one(objects, "Pod"), one(objects, "Service")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"] == ["selftest", f"http://{service['metadata']['name']}.podwire:81"]
    assert service["spec"]["ports"][0]["port"] == 81
    assert not set(service["spec"]["selector"].items()) <= set(pod["metadata"]["labels"].items())


def test_a_drain_waits_for_runs() -> None:
    budget = one([o for o in render() if o["metadata"].get("namespace") == "podwire-runs"], "PodDisruptionBudget")
    # The quota could never let so many pods be.
    assert budget["spec"] == {"minAvailable": 2**31 - 1, "selector": {}}
    assert not [
        o
        for o in render({"runs.podDisruptionBudget.enabled": False})
        if o["metadata"].get("namespace") == "podwire-runs" and o["kind"] == "PodDisruptionBudget"
    ]


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
