"""The examination of a real cluster: where all is well, and with one thing wrong at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from app.domain.errors import LaunchRefused
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.checks.check_result import CheckResult, State
from app.launch.kubernetes.checks.cluster_checks import CheckedCluster, examine
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.link import exec_session
from app.launch.kubernetes.pods.manifest import DOMAIN, Shape
from tests.cluster.conftest import launched, wait_for
from tests.cluster.rights import PATHS, RULES, account
from tests.cluster.test_access import SMALL, with_user
from tests.contract.attempts import bash, clear


def examined(api: KubeApi, shape: Shape, within_s: float = 60.0) -> dict[str, CheckResult]:
    return {finding.name: finding for finding in examine(CheckedCluster(lambda: api, shape, KubernetesLauncher, within_s))}


def states(found: dict[str, CheckResult]) -> dict[str, str]:
    return {name: finding.state.value for name, finding in found.items()}


def bound(api: KubeApi, namespace: str, name: str, folder: Path, without: str = "") -> KubeApi:
    """Return a client with a service account of the documented rights, less those to one resource."""
    for document in yaml.safe_load_all(RULES.read_text()):
        document["metadata"]["name"] = name
        if document["kind"] == "Role":
            document["rules"] = [rule for rule in document["rules"] if rule["resources"] != [without]]
        if document["kind"] == "RoleBinding":
            document["roleRef"]["name"] = name
            document["subjects"][0] |= {"name": name, "namespace": namespace}
        api.call("POST", PATHS[document["kind"]].format(namespace), document)
    return with_user(account(api, namespace, name), folder)


@pytest.fixture
def nothing_left(api: KubeApi, namespace: str) -> Iterator[None]:
    """Check that no probe's pod is left."""
    yield
    pods = f"/api/v1/namespaces/{namespace}/pods"
    wait_for(lambda: not api.call("GET", pods, query={"labelSelector": f"{DOMAIN}/instance=doctor.podwire"})["items"])


def test_all_is_well(api: KubeApi, shape: Shape, nothing_left: None) -> None:
    found = examined(api, shape)
    assert set(states(found).values()) == {"ok"}, found
    assert {"probe", "probe python", "probe bash", "probe sh", "quota", "limits", "podsecurity", "permissions"} < set(found)
    for phase in ("created", "agent", "started", "ended", "removed"):
        assert phase in found["probe python"].detail


def test_the_documented_rights_are_enough(api: KubeApi, shape: Shape, namespace: str, tmp_path: Path, nothing_left: None) -> None:
    found = examined(bound(api, namespace, "doctor-all", tmp_path), replace(shape, languages={}))
    unseen = dict.fromkeys(("namespace", "podsecurity", "quota", "limits"), "unseen")
    assert states(found) == dict.fromkeys(found, "ok") | unseen, found
    assert found["probe"].state is State.OK


def test_without_exec(
    api: KubeApi, shape: Shape, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    user = bound(api, namespace, "doctor-no-exec", tmp_path, without="pods/exec")
    found = examined(user, shape)
    assert found["permissions"].state is State.FAILED
    assert "resources: [pods/exec]\n    verbs: [get, create]" in found["permissions"].advice
    assert found["probe"].state is State.WARNING
    # What a run comes to: its end says whom to tell, and the log says what it is.
    monkeypatch.setattr(exec_session, "FORBIDDEN_S", 1.0)
    launcher = KubernetesLauncher(user, shape)
    follower = launched(launcher, bash("true", **SMALL))
    ended = follower.to_end()
    assert (ended["reason"], "tell the administrator" in str(ended["message"])) == ("LaunchFailed", True)
    assert caplog.text.count("configuration error: pod") == 1
    clear(launcher)


def test_a_full_quota(api: KubeApi, shape: Shape, namespace: str) -> None:
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    wait_for(lambda: not api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"])
    api.call("POST", quotas, {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "1"}}})
    launcher = KubernetesLauncher(api, shape)
    try:
        wait_for(lambda: "hard" in api.call("GET", f"{quotas}/full").get("status", {}))
        launched(launcher, bash("sleep 60", **SMALL))
        wait_for(lambda: api.call("GET", f"{quotas}/full")["status"]["used"]["pods"] == "1")
        found = examined(api, shape)
        assert (found["quota"].state, "1 of 1 pods in use" in found["quota"].detail) == (State.WARNING, True), found
        assert not [finding for finding in found.values() if finding.state is State.FAILED]
    finally:
        clear(launcher)
        api.call("DELETE", f"{quotas}/full")


def test_a_namespace_that_is_not_there(api: KubeApi, shape: Shape) -> None:
    found = examined(api, replace(shape, namespace="not-there"))
    assert states(found) == {"cluster": "ok", "namespace": "failed"}
    assert "kubectl create namespace not-there" in found["namespace"].advice
    with pytest.raises(LaunchRefused, match="tell the administrator"):
        KubernetesLauncher(api, replace(shape, namespace="not-there")).launch(bash("true", **SMALL))


def test_an_image_that_cannot_be_had(api: KubeApi, shape: Shape, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    monkeypatch.setitem(exec_session.LASTING_S, "ImagePullFailed", 2.0)
    found = examined(
        api, replace(shape, images={**shape.images, "python": "localhost/no-such-image:1"}, languages={"python": ("python3",)})
    )
    assert found["probe"].state is State.OK
    assert (found["probe python"].state, "no-such-image" in found["probe python"].detail) == (State.FAILED, True), found
    assert "PODWIRE_KUBE_IMAGES names localhost/no-such-image:1" in found["probe python"].advice


def test_an_agent_image_that_cannot_be_had(
    api: KubeApi, shape: Shape, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    monkeypatch.setitem(exec_session.LASTING_S, "LaunchFailed", 2.0)
    found = examined(api, replace(shape, agent_image="localhost/no-such-agent:1"))
    assert (found["probe"].state, "PODWIRE_KUBE_AGENT_IMAGE is localhost/no-such-agent:1" in found["probe"].advice) == (
        State.FAILED,
        True,
    ), found
    assert "see probe" in found["probe python"].detail


def test_pods_that_run_as_root(api: KubeApi, shape: Shape, caplog: pytest.LogCaptureFixture) -> None:
    found = examined(api, replace(shape, user_id=0))
    assert (found["pod"].state, "PODWIRE_KUBE_USER_ID" in found["pod"].advice) == (State.FAILED, True), found
    with pytest.raises(LaunchRefused, match="tell the administrator"):
        KubernetesLauncher(api, replace(shape, user_id=0)).launch(bash("true", **SMALL))
    assert "configuration error: no pod" in caplog.text


def test_no_room_on_any_node(api: KubeApi, shape: Shape, nothing_left: None) -> None:
    found = examined(api, replace(shape, node_selector={"no-such": "label"}, languages={}), within_s=6.0)
    assert (found["probe"].state, "PODWIRE_KUBE_NODE_SELECTOR" in found["probe"].advice) == (State.FAILED, True), found
