"""What a pod's status says about its attempt. Pure: the pod as the API gives it goes in, a verdict comes out.

Precedence: the pod's own reason, then its main container, then the agent.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
PULL_FAULTS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed")
CREATE_FAULTS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError")
DISK_WORDS = ("ephemeral", "emptydir", "disk", "storage")
MAX_REASON = 900
DISRUPTIONS = {
    "DeletionByTaintManager": ("NodeLost", "The node that it ran on has not answered for too long."),
    "DeletionByPodGC": ("NodeLost", "The node that it ran on is gone."),
    "EvictionByEvictionAPI": ("Evicted", "It was evicted: its node is being emptied, or was needed for something else."),
    "PreemptionByScheduler": ("Evicted", "The cluster needed the place for something of a higher priority."),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known. `exited` is the body of EXITED: how the container of the program ended, or why it never will begin.

    `gone`: nothing more will come from the agent. `fault` may pass by itself: only if it lasts does it become `exited` or,
    where the agent itself is concerned, `gone`. Each of these two is (reason, sentence). `agent_runs` when it can be dialled.
    `leaving`: the fault is that the pod is being taken away.
    """

    exited: Json | None = None
    gone: tuple[str, str] | None = None
    fault: tuple[str, str] | None = None
    fault_of_agent: bool = False
    agent_runs: bool = False
    leaving: bool = False


def judge(pod: Json) -> Verdict:
    """Return what the pod's status says."""
    status = pod.get("status") or {}
    agent, run = _state(status, "agent"), _state(status, "run")
    reason = _pod_reason(pod, status)
    agent_over = "terminated" in agent or status.get("phase") in ("Failed", "Succeeded")
    if agent_over:
        return Verdict(gone=reason or _agent_end(agent))
    runs = "running" in agent
    fault = _fault(agent.get("waiting") or {}, "The agent's image cannot be had, tell the administrator")
    if fault and not reason:
        # Whatever the program's container came to: without the agent's files it could not begin, and nobody can be told.
        return Verdict(fault=("LaunchFailed", fault[1]), fault_of_agent=True)
    if "terminated" in run:
        return Verdict(exited=_run_end(run["terminated"], reason), agent_runs=runs)
    if reason:
        # It is being taken away. Where its node answers, its containers end soon, and their end is told instead of this.
        return Verdict(fault=reason, fault_of_agent=True, agent_runs=runs, leaving=True)
    waiting = run.get("waiting") or {}
    if waiting.get("reason") == "InvalidImageName":
        message = _sentence("The image's name is not valid", waiting.get("message"))
        return Verdict(exited=never("InvalidImage", message, hopeless=True), agent_runs=runs)
    fault = _fault(waiting, "The image cannot be had")
    if fault:
        return Verdict(fault=fault, agent_runs=runs)
    return Verdict(fault=_unscheduled(status), fault_of_agent=True, agent_runs=runs)


def _state(status: Json, name: str) -> Json:
    for container in status.get("containerStatuses") or []:
        if container.get("name") == name:
            return dict(container.get("state") or {})
    return {}


def _pod_reason(pod: Json, status: Json) -> tuple[str, str] | None:
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason == "Evicted":
        if any(word in message.lower() for word in DISK_WORDS):
            return "DiskLimit", _sentence("It used more disk than its limit", message)
        return "Evicted", _sentence("The cluster needed the place", message)
    if reason == "DeadlineExceeded":
        return "RunTimeout", "It ran for longer than any run may, and the cluster ended it."
    if reason in ("NodeLost", "Shutdown", "Terminated", "NodeShutdown"):
        return "NodeLost", _sentence("The node that it ran on is gone", message)
    if reason:
        return "LaunchFailed", _sentence(f"The node refused the run, {reason}", message)
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("reason") in DISRUPTIONS:
            return DISRUPTIONS[condition["reason"]]
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return "PodDeleted", "The run's pod was deleted by somebody else."
    return None


def _agent_end(agent: Json) -> tuple[str, str]:
    ended = agent.get("terminated") or {}
    why = f" ({ended.get('reason') or 'ended'}, exit code {ended.get('exitCode')})" if ended else ""
    return "AgentLost", f"The agent beside the program has ended{why}, so how the program ended is not known."


def _run_end(ended: Json, pod_reason: tuple[str, str] | None) -> Json:
    code = int(ended.get("exitCode") or 0)
    killed = code > 128
    body: Json = {"exit_code": None if killed else code, "signal": _signal_name(code - 128) if killed else None}
    if ended.get("reason") == "OOMKilled":
        return body | {"reason": "OOMKilled"}
    if ended.get("reason") in ("ContainerCannotRun", "StartError"):
        message = _sentence("The program's container could not be started", ended.get("message"))
        return never("LaunchFailed", message)
    if pod_reason:
        return body | {"reason": pod_reason[0], "message": pod_reason[1]}
    return body


def never(reason: str, message: str, *, hopeless: bool = False) -> Json:
    """Return the body of EXITED for a program that did not begin and will not; `hopeless` when another would not either."""
    why: Json = {"reason": reason, "message": message[:1000].strip(), "began": False}
    return {"exit_code": None, "signal": None, **why, **({"hopeless": True} if hopeless else {})}


def _sentence(words: str, reason: object) -> str:
    """Return our words and what the cluster told, which ends in many ways, as one sentence."""
    ending = str(reason or "")[:MAX_REASON].strip().rstrip(".")
    return f"{words}: {ending}." if ending else f"{words}."


def _fault(waiting: Json, words: str) -> tuple[str, str] | None:
    reason, message = waiting.get("reason"), waiting.get("message")
    if reason in PULL_FAULTS:
        return "ImagePullFailed", _sentence(words, message or reason)
    if reason in CREATE_FAULTS:
        return "LaunchFailed", _sentence("The container could not be made", message or reason)
    return None


def _unscheduled(status: Json) -> tuple[str, str] | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable", _sentence("No node has room for it", condition.get("message"))
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
