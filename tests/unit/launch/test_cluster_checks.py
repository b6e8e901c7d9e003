"""What the examination of a cluster finds, and what it advises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.agent.records.wire_format import Kind
from app.domain.errors import LauncherUnavailable, LaunchRefused
from app.domain.ids import is_run_id, new_probe_id, new_run_id
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks import rbac
from app.launch.kubernetes.checks.check_result import CheckResult, State
from app.launch.kubernetes.checks.cluster_checks import examine
from app.launch.kubernetes.pods.manifest import Shape, parse_name, pod_name
from tests.unit.launch.cluster_double import SHAPE, SPACE, Cluster, Launcher, by_name, forbidden, patient

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]


def examined(cluster: Cluster | ApiFailure, *plays: Any, shape: Shape = SHAPE, within_s: float = 5.0) -> dict[str, CheckResult]:
    return by_name(list(examine(patient(cluster, Launcher(*plays), shape, within_s))))


def states(findings: dict[str, CheckResult]) -> dict[str, str]:
    return {name: finding.state.value for name, finding in findings.items()}


def test_a_cluster_where_all_is_well() -> None:
    cluster, launcher = Cluster(), Launcher()
    found = by_name(list(examine(patient(cluster, launcher))))
    names = ["cluster", "namespace", "permissions", "podsecurity", "quota", "limits", "pod", "probe", "probe python"]
    assert states(found) == dict.fromkeys(names, "ok")
    assert not any(finding.advice for finding in found.values())
    assert "v1.34.1" in found["cluster"].detail
    assert "started" in found["probe"].detail
    assert [container["image"] for container in cluster.dry[0]["spec"]["containers"]] == ["podwire:1", "debian:12"]
    assert [each.run_id for each in launcher.removed] == [each.run_id for each in launcher.launched]
    assert all(each.handle == "uid" for each in launcher.removed)


def test_a_probe_is_nobodys_run_and_no_workers_leftover() -> None:
    launcher = Launcher()
    list(examine(patient(Cluster(), launcher)))
    attempt, shape = launcher.launched[0], launcher.shapes[0]
    assert parse_name(pod_name(attempt)) == (attempt.run_id, 1)
    assert shape.instance != SHAPE.instance
    assert replace(shape, instance=SHAPE.instance, waiting_s=SHAPE.waiting_s) == SHAPE
    assert is_run_id(new_probe_id())
    long = Launcher()
    list(examine(patient(Cluster(), long, replace(SHAPE, instance="i" * 55 + "-2345678"))))
    assert len(long.shapes[0].instance) <= 63
    assert long.shapes[0].instance[-1].isalnum()


def test_no_run_ever_has_the_id_of_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = iter("robe" + "a" * 15 + "probe" + "a" * 14 + "b" * 19)
    monkeypatch.setattr("secrets.choice", lambda alphabet: next(letters))
    assert new_run_id() == "rrobe" + "a" * 15
    assert new_run_id() == "r" + "b" * 19


def test_the_documented_rules_are_those_that_are_checked() -> None:
    documents = list(yaml.safe_load_all((ROOT / "docs/kubernetes-rbac.yaml").read_text()))
    rules = next(each["rules"] for each in documents if each["kind"] == "Role")
    assert [(r["resources"], tuple(r["verbs"]), r["apiGroups"]) for r in rules] == [
        ([rule.resource], rule.verbs, [""]) for rule in rbac.RULES
    ]
    assert yaml.safe_load(rbac.as_yaml(list(rbac.RULES))) == rules


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (ApiFailure(0, "NoCredentials", "there is neither a service account nor a usable kubeconfig"), "KUBECONFIG"),
        (ApiFailure(0, "Unreachable", "refused"), "does not answer"),
        (ApiFailure(401, "Unauthorized", "Unauthorized"), "Renew the token"),
        (ApiFailure(502, "", "<html>"), "address"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_all_that_is_said(failure: ApiFailure, advice: str) -> None:
    for cluster in (failure, Cluster({"GET /version": failure})):
        found = examined(cluster)
        assert states(found) == {"cluster": "failed"}
        assert advice in found["cluster"].advice


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (ApiFailure(404, "NotFound", 'namespaces "runs" not found'), "kubectl create namespace runs"),
        ({"metadata": {}, "status": {"phase": "Terminating"}}, "PODWIRE_KUBE_NAMESPACE"),
    ],
)
def test_a_namespace_that_is_not_there_ends_it(answer: Any, advice: str) -> None:
    found = examined(Cluster({f"GET {SPACE}": answer}))
    assert states(found) == {"cluster": "ok", "namespace": "failed"}
    assert advice in found["namespace"].advice


def test_what_may_not_be_looked_at_is_no_fault() -> None:
    closed = {f"GET {SPACE}{path}": forbidden(path or "namespaces") for path in ("", "/resourcequotas", "/limitranges")}
    found = examined(Cluster(closed))
    assert {name for name, state in states(found).items() if state == "unseen"} == {"namespace", "podsecurity", "quota", "limits"}
    assert all("not permitted" in f.detail for f in found.values() if f.state is State.UNSEEN)
    assert found["probe"].state is State.OK


@pytest.mark.parametrize("denied", [f"{verb} {rule.resource}" for rule in rbac.RULES for verb in rule.verbs if not rule.only_for])
def test_each_missing_permission_comes_with_its_rule(denied: str) -> None:
    launcher = Launcher()
    found = by_name(list(examine(patient(Cluster(denied=(denied,)), launcher))))
    verb, resource = denied.split()
    assert found["permissions"].state is State.FAILED
    rules = yaml.safe_load(found["permissions"].advice.split(":\n", 1)[1])
    assert rules == [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]
    assert "docs/kubernetes-rbac.yaml" in found["permissions"].advice
    assert (found["probe"].state, launcher.launched) == (State.WARNING, [])


def test_a_permission_that_only_some_runs_need_is_no_fault() -> None:
    found = examined(Cluster(denied=("create secrets",)))
    assert (found["permissions"].state, found["probe"].state) == (State.WARNING, State.OK)
    assert "runs with secret environment are refused" in found["permissions"].advice
    assert "verbs: [create]" in found["permissions"].advice


@pytest.mark.parametrize(
    ("labels", "state"),
    [({"pod-security.kubernetes.io/enforce": "baseline"}, "ok"), ({}, "warning")],
)
def test_the_level_of_pod_security(labels: Json, state: str) -> None:
    found = examined(Cluster({f"GET {SPACE}": {"metadata": {"labels": labels}}}))
    assert found["podsecurity"].state.value == state
    if state == "warning":
        assert "kubectl label --overwrite namespace runs" in found["podsecurity"].advice


def quota(hard: Json, used: Json, **spec: Any) -> Json:
    items = [{"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used}}]
    return {f"GET {SPACE}/resourcequotas": {"items": items}}


@pytest.mark.parametrize(
    ("hard", "used", "state", "words"),
    [
        ({"pods": "10"}, {"pods": "3"}, "ok", "pods 3 of 10"),
        ({"pods": "3"}, {"pods": "3"}, "warning", "3 of 3 pods"),
        ({"limits.cpu": "1500m"}, {"limits.cpu": "0"}, "warning", "allows 1500m of limits.cpu in all, and one such run takes 2"),
        ({"requests.memory": "1Gi"}, {"requests.memory": "500Mi"}, "warning", "500Mi of 1Gi requests.memory"),
        ({"count/pods": "1", "services": "0"}, {"count/pods": "0"}, "ok", "services"),
    ],
)
def test_quotas(hard: Json, used: Json, state: str, words: str) -> None:
    finding = examined(Cluster(quota(hard, used)))["quota"]
    assert (finding.state.value, words in finding.detail) == (state, True), finding
    assert bool(finding.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("spec", "state"),
    [
        ({"scopes": ["BestEffort"]}, "ok"),
        ({"scopes": ["NotTerminating"]}, "ok"),
        ({"scopes": ["Terminating"]}, "warning"),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}, "ok"),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, "warning"),
    ],
)
def test_quotas_that_do_not_count_runs_are_left_out(spec: Json, state: str) -> None:
    assert examined(Cluster(quota({"pods": "0"}, {"pods": "0"}, **spec)))["quota"].state.value == state


@pytest.mark.parametrize(
    ("limit", "state", "words"),
    [
        ({"type": "Container", "max": {"cpu": "2"}}, "ok", "no conflict"),
        ({"type": "Container", "max": {"memory": "256Mi"}}, "warning", "at most 256Mi of memory"),
        ({"type": "Container", "min": {"cpu": "100m"}}, "failed", "container agent: at least 100m of cpu"),
        ({"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}}, "failed", "more than 4 times"),
        ({"type": "Pod", "max": {"cpu": "1500m"}}, "warning", "the whole pod: at most 1500m of cpu"),
        ({"type": "PersistentVolumeClaim", "max": {"storage": "1"}}, "ok", "no conflict"),
    ],
)
def test_limit_ranges(limit: Json, state: str, words: str) -> None:
    items = [{"metadata": {"name": "l"}, "spec": {"limits": [limit]}}]
    finding = examined(Cluster({f"GET {SPACE}/limitranges": {"items": items}}))["limits"]
    assert (finding.state.value, words in finding.detail) == (state, True), finding
    assert ("limitrange -n runs" in finding.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("failure", "state", "advice"),
    [
        (ApiFailure(403, "", 'pods "x" is forbidden: exceeded quota: q'), "warning", "quota has room"),
        (ApiFailure(403, "", "no PriorityClass with name y was found"), "failed", "PODWIRE_KUBE_PRIORITY_CLASS"),
        (ApiFailure(403, "", 'pod rejected: RuntimeClass "x" not found'), "failed", "PODWIRE_KUBE_RUNTIME_CLASS"),
        (ApiFailure(403, "", 'error looking up service account runs/x: serviceaccount "x" not found'), "failed", "-n runs"),
        (ApiFailure(403, "", 'violates PodSecurity "restricted:latest": runAsUser=0'), "failed", "PODWIRE_KUBE_USER_ID"),
        (ApiFailure(403, "", "maximum cpu usage per Container is 1"), "failed", "limitrange -n runs"),
        (ApiFailure(404, "NotFound", 'namespaces "runs" not found'), "failed", "kubectl create namespace runs"),
        (ApiFailure(403, "", 'User "u" cannot create resource "pods"'), "failed", "docs/kubernetes-rbac.yaml"),
        (ApiFailure(422, "Invalid", "spec.tolerations[0]: Invalid"), "failed", "PODWIRE_KUBE_ settings"),
        (ApiFailure(403, "", "admission webhook denied"), "failed", "admission policy"),
    ],
)
def test_a_pod_that_is_not_accepted(failure: ApiFailure, state: str, advice: str) -> None:
    found = examined(Cluster({f"POST {SPACE}/pods": failure}))
    assert (found["pod"].state.value, found["pod"].detail) == (state, failure.message)
    assert advice in found["pod"].advice
    assert "probe" not in found


def end(**body: object) -> list[tuple[Kind, bytes]]:
    return [(Kind.HEARTBEAT, b"{}"), (Kind.EXIT, json.dumps({"exit_code": None, **body}).encode())]


@pytest.mark.parametrize(
    ("play", "says", "advice"),
    [
        (LaunchRefused("no"), "no", "kubectl get events -n runs"),
        (
            end(reason="ImagePullFailed", message="The image cannot be had: x"),
            "cannot be had",
            "PODWIRE_KUBE_DEFAULT_IMAGE names debian:12",
        ),
        (
            end(reason="LaunchFailed", message="The agent's image cannot be had"),
            "agent's image",
            "PODWIRE_KUBE_AGENT_IMAGE is podwire:1",
        ),
        (end(reason="Unschedulable", message="No node has room for it: cpu"), "No node", "PODWIRE_KUBE_NODE_SELECTOR"),
        (end(reason="LaunchFailed", message='cannot create resource "pods/exec"'), "pods/exec", "docs/kubernetes-rbac.yaml"),
        ([(Kind.NOTICE, b'{"message": "pulling the image"}')], "within 0.05 seconds. The last news: pulling", "get events"),
    ],
)
def test_a_probe_run_that_does_not_work(play: Any, says: str, advice: str) -> None:
    finding = examined(Cluster(), play, within_s=0.05)["probe"]
    assert (finding.state, says in finding.detail, advice in finding.advice) == (State.FAILED, True, True), finding


def test_a_probe_run_waits_for_quota_without_fault() -> None:
    finding = examined(Cluster(), LauncherUnavailable("The quota is used up", reason="QuotaExceeded", waits=True))["probe"]
    assert (finding.state, finding.detail) == (State.WARNING, "The quota is used up")


def test_an_image_that_lacks_its_language_and_one_that_nobody_named() -> None:
    ended = [(Kind.STARTED, b"{}"), *end(exit_code=127, launch_error="python3 is not there")]
    shape = replace(SHAPE, languages={"node": ("node",), "python": ("python3", "-u")}, default_image="")
    found = examined(Cluster(), [*end(exit_code=0)], ended, shape=shape)
    assert (found["probe node"].state, "PODWIRE_LANGUAGES" in found["probe node"].advice) == (State.WARNING, True)
    assert found["probe python"].state is State.FAILED
    assert found["probe python"].advice == "The image must have `python3 -u`: change PODWIRE_KUBE_IMAGES or PODWIRE_LANGUAGES."
    assert "podwire:1" in found["probe"].detail


def test_an_image_that_cannot_be_had_is_tried_once() -> None:
    launcher = Launcher(end(reason="ImagePullFailed", message="The image cannot be had"))
    found = by_name(list(examine(patient(Cluster(), launcher, replace(SHAPE, images={})))))
    assert len(launcher.launched) == 1
    assert (found["probe python"].state, "see probe" in found["probe python"].detail) == (State.FAILED, True)
