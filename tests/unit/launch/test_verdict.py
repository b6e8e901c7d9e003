"""What is read out of a pod's status."""

from __future__ import annotations

from typing import Any

import pytest

from app.launch.kubernetes.pods.verdict import Verdict, judge

RUNNING = {"running": {}}


def pod(agent: Any = None, run: Any = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": name, "state": state} for name, state in (("run", run), ("agent", agent)) if state]
    deleted = {"deletionTimestamp": "now"} if status.pop("deleted", False) else {}
    return {"metadata": deleted, "status": {"containerStatuses": containers, **status}}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


def disrupted(reason: str) -> list[dict[str, str]]:
    return [{"type": "Ready", "reason": "PodFailed"}, {"type": "DisruptionTarget", "status": "True", "reason": reason}]


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": "because"}}


def test_nothing_is_known_of_a_pod_that_begins() -> None:
    assert judge({"metadata": {}}) == Verdict(fault_of_agent=True)
    assert judge(pod(RUNNING, waiting("ContainerCreating"))) == Verdict(agent_runs=True, fault_of_agent=True)
    assert judge(pod(RUNNING, RUNNING)).exited is None


@pytest.mark.parametrize(
    ("state", "status", "wanted"),
    [
        (ended(3), {}, {"exit_code": 3, "signal": None}),
        (ended(137), {}, {"exit_code": None, "signal": "SIGKILL"}),
        (ended(137, "OOMKilled"), {}, {"exit_code": None, "signal": "SIGKILL", "reason": "OOMKilled"}),
        (ended(143), {"deleted": True}, {"signal": "SIGTERM", "reason": "PodDeleted"}),
        (ended(137), {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds"}, {"reason": "DiskLimit"}),
        (ended(137), {"reason": "Evicted", "message": "The node was low on resource: memory"}, {"reason": "Evicted"}),
        (ended(128, "StartError"), {}, {"reason": "LaunchFailed", "exit_code": None}),
        (waiting("InvalidImageName"), {}, {"reason": "InvalidImage"}),
    ],
)
def test_how_the_program_ended(state: dict[str, Any], status: dict[str, Any], wanted: dict[str, Any]) -> None:
    exited = judge(pod(RUNNING, state, **status)).exited
    assert exited is not None
    assert {key: exited.get(key) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (pod(ended(1), RUNNING), "AgentLost"),
        (pod(ended(1), ended(137, "OOMKilled"), reason="Evicted", message="node was low on memory"), "Evicted"),
        (pod(phase="Failed", reason="DeadlineExceeded"), "RunTimeout"),
        (pod(phase="Failed", reason="OutOfcpu"), "LaunchFailed"),
        (pod(phase="Failed", reason="NodeLost"), "NodeLost"),
        (pod(ended(143), ended(143), deleted=True), "PodDeleted"),
    ],
)
def test_nothing_more_comes_from_an_agent_that_is_gone(made: dict[str, Any], reason: str) -> None:
    gone = judge(made).gone
    assert gone is not None and gone[0] == reason and gone[1].endswith((".", "exceeds", "memory"))


@pytest.mark.parametrize(
    ("made", "fault", "of_agent"),
    [
        (pod(RUNNING, waiting("ErrImagePull")), "ImagePullFailed", False),
        (pod(RUNNING, waiting("ImagePullBackOff")), "ImagePullFailed", False),
        (pod(RUNNING, waiting("CreateContainerConfigError")), "LaunchFailed", False),
        (pod(waiting("ImagePullBackOff"), waiting("PodInitializing")), "LaunchFailed", True),
        (pod(waiting("ImagePullBackOff"), ended(128, "StartError")), "LaunchFailed", True),
        (pod(RUNNING, RUNNING, deleted=True), "PodDeleted", True),
        (pod(RUNNING, RUNNING, deleted=True, conditions=disrupted("DeletionByTaintManager")), "NodeLost", True),
        (pod(RUNNING, RUNNING, deleted=True, conditions=disrupted("DeletionByPodGC")), "NodeLost", True),
        (pod(RUNNING, RUNNING, deleted=True, conditions=disrupted("EvictionByEvictionAPI")), "Evicted", True),
        (pod(RUNNING, RUNNING, deleted=True, conditions=disrupted("PreemptionByScheduler")), "Evicted", True),
        (pod(RUNNING, RUNNING, deleted=True, conditions=disrupted("SomethingNew")), "PodDeleted", True),
        (pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1"}]), "Unschedulable", True),
    ],
)
def test_faults_that_may_pass(made: dict[str, Any], fault: str, of_agent: bool) -> None:
    verdict = judge(made)
    assert verdict.fault is not None
    assert (verdict.fault[0], verdict.fault_of_agent, verdict.exited, verdict.gone) == (fault, of_agent, None, None)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        *((each, "it is full") for each in ("it is full", "it is full.", " it is full. ", "it is full.\n")),
        ("a" * 3000, "a" * 900),
    ],
)
def test_what_the_cluster_says_becomes_one_sentence_however_it_ends(told: str, kept: str) -> None:
    assert judge(pod(reason="Evicted", message=told)).fault == ("Evicted", f"The cluster needed the place: {kept}.")


def test_a_cluster_that_says_nothing_leaves_no_colon() -> None:
    assert judge(pod(reason="Evicted")).fault == ("Evicted", "The cluster needed the place.")
