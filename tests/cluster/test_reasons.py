"""Ends that a run does not make by itself: every reason that a cluster can produce, each told for what it is.

What programs do to themselves is in test_runs.py, quota in test_access.py and test_service.py, lost nodes in test_faults.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from app.agent.records.wire_format import Kind
from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.launcher import KubernetesLauncher
from app.launch.kubernetes.pods.manifest import Shape, pod_name
from tests.cluster.conftest import launched, wait_for
from tests.cluster.test_access import account, with_user
from tests.contract.attempts import Follower, attempt, bash, python

SMALL: dict[str, object] = {"cpu": 0.2, "memory_bytes": 64 * 1024**2}
# A test node's ctr-node reaches its first node only.
WHERE_CONTAINERS_CAN_BE_KILLED = {"kubernetes.io/hostname": "node1"}
PATIENT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye') or 5))
print('ready')
signal.pause()"""


def pod_path(shape: Shape, what: Attempt) -> str:
    return f"/api/v1/namespaces/{shape.namespace}/pods/{pod_name(what)}"


def ready(launcher: KubernetesLauncher, what: Attempt) -> Follower:
    """Launch a program that says when it is ready, and wait for that."""
    follower = launched(launcher, what)
    follower.until(lambda: b"ready" in follower.output())
    return follower


def test_an_eviction_is_told_apart_from_a_deletion(launcher: KubernetesLauncher, api: KubeApi, shape: Shape) -> None:
    evicted, deleted = python(PATIENT, **SMALL), python(PATIENT, **SMALL)
    followers = [ready(launcher, what) for what in (evicted, deleted)]
    for what in (evicted, deleted):  # a node reports later than a program speaks
        wait_for(lambda what=what: api.call("GET", pod_path(shape, what))["status"]["phase"] == "Running")  # type: ignore[misc]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod_name(evicted), "namespace": shape.namespace}}
    api.call("POST", f"{pod_path(shape, evicted)}/eviction", body)
    api.call("DELETE", pod_path(shape, deleted))
    ends = [follower.to_end() for follower in followers]
    assert [(end["reason"], end["exit_code"]) for end in ends] == [("Evicted", 5), ("PodDeleted", 5)]
    assert [follower.output() for follower in followers] == [b"ready\nbye\n"] * 2


def test_an_agent_that_dies_is_told_and_its_program_is_taken_away(api: KubeApi, shape: Shape) -> None:
    if shutil.which("ctr-node") is None:
        pytest.skip("missing: ctr-node, which a test node has")
    launcher = KubernetesLauncher(api, replace(shape, node_selector=WHERE_CONTAINERS_CAN_BE_KILLED))
    what = bash("echo ready; while :; do sleep 0.1; done", **SMALL)
    follower = ready(launcher, what)
    kill_container(api, shape, what, "agent")
    end = follower.to_end()
    assert end["reason"] == "AgentLost"
    assert "OOMKilled" not in str(end["message"]) and "137" in str(end["message"])
    assert follower.output() == b"ready\n"
    launcher.remove(follower.attempt)
    assert launcher.present() == []


def kill_container(api: KubeApi, shape: Shape, what: Attempt, name: str) -> None:
    """Kill the container's first process, as the kernel does: nobody in the pod can."""
    found: list[str] = []

    def known() -> bool:
        statuses = api.call("GET", pod_path(shape, what))["status"].get("containerStatuses", [])
        found.extend(each["containerID"] for each in statuses if each["name"] == name and each.get("containerID"))
        return bool(found)

    wait_for(known)
    kill_task(found[0].partition("://")[2])


def kill_task(container: str) -> None:
    """Kill a container of the test node."""
    subprocess.run(["ctr-node", "tasks", "kill", "--signal", "SIGKILL", container], check=True, capture_output=True)


def test_what_the_api_server_finds_wrong_is_the_specs_fault(launcher: KubernetesLauncher) -> None:
    with pytest.raises(LaunchRefused, match="does not accept") as refused:
        launcher.launch(attempt(command=("true",), env={"\u00e9": "x"}, **SMALL))
    assert refused.value.extensions["reason"] == "InvalidSpec"
    assert launcher.present() == []


def test_what_the_namespace_forbids_is_the_administrators_fault(
    api: KubeApi, shape: Shape, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = KubernetesLauncher(api, replace(shape, user_id=0))
    stranger = KubernetesLauncher(with_user(account(api, namespace, "default"), tmp_path_factory.mktemp("user")), shape)
    for launcher, words in ((root, "PodSecurity"), (stranger, "cannot create resource")):
        with pytest.raises(LaunchRefused, match="tell the administrator") as refused:
            launcher.launch(bash("true", **SMALL))
        assert refused.value.extensions["reason"] == "LaunchFailed"
        assert words in refused.value.detail or "cannot get resource" in refused.value.detail
    assert KubernetesLauncher(api, shape).present() == []


@pytest.mark.alone  # it fills every node
def test_a_pod_that_no_node_has_room_for_runs_when_there_is_room(
    launcher: KubernetesLauncher, api: KubeApi, shape: Shape
) -> None:
    cores = [node["status"]["allocatable"]["cpu"] for node in api.call("GET", "/api/v1/nodes")["items"]]
    big = max(float(each.removesuffix("m")) / (1000 if each.endswith("m") else 1) for each in cores) - 0.3
    places = [launched(launcher, bash("echo ready; sleep 300", cpu=big)) for _ in cores]
    for follower in places:
        follower.until(lambda follower=follower: follower.output())  # type: ignore[misc]
    waiting = launched(launcher, bash("echo ran", cpu=big))
    waiting.until(lambda: "unschedulable" in [body["code"] for body in waiting.bodies(Kind.NOTICE)])
    (notice,) = [body for body in waiting.bodies(Kind.NOTICE) if body["code"] == "unschedulable"]
    assert "cpu" in json.dumps(notice)
    launcher.remove(places[0].attempt)
    assert waiting.to_end()["exit_code"] == 0
    assert waiting.output() == b"ran\n"
