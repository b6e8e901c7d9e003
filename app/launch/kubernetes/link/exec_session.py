"""The rules of a link to the agent of a pod, sans-IO: when to dial, look and ask, what to say to the agent and of the pod.

What happened goes in with the time of the monotonic clock; records, commands and times come out. exec_link.py moves bytes.

| state | what happens | next |
|---|---|---|
| AWAY: there is no connection | `dialled` | SILENT |
| SILENT: nobody has answered on it yet | `received` | TALKING |
| SILENT | `broke`, or `too_long_silent` | AWAY: dialled again, later each time |
| TALKING | `broke` | LOST: whoever follows makes another link |
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from app.agent.records.wire_format import Kind
from app.domain.ports import Attempt, Record
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks.rbac import SEE_DOCTOR
from app.launch.kubernetes.pods.manifest import pod_name, script_name
from app.launch.kubernetes.pods.pod_events import Notice, code_of, notices
from app.launch.kubernetes.pods.pod_evidence import evidence_of, pulling
from app.launch.kubernetes.pods.verdict import Verdict, never

logger = logging.getLogger(__name__)

Json = dict[str, Any]
NEVER = float("inf")
# How long a connection on which nobody speaks is kept: longer after each, for a busy node is not helped by one more process.
DIAL_WITHIN_S, LONGEST_DIAL_S = 2.0, 15.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
# So many agents are dialled before the watch shows that they run. Of more, each is only dialled then, or after this time: a try
# that comes too early costs a busy node a tenth of what the pod does.
FEW, CROWDED_PAUSE_S = 4, 10.0
LOOK_EVERY_S, LOOK_AGAIN_S = 5.0, 0.5
PULLING = "Its image is being pulled."
BEGUN = (Kind.STARTED, Kind.EXIT)
# An API server reads all events of a namespace to find those of one pod: the links of a process take turns.
EVENTS_AFTER_S, EVENTS_EVERY_S = 1.5, 2.0
LASTING_S = {"ImagePullFailed": 60.0, "LaunchFailed": 30.0, "NodeLost": 20.0}
# Rights may be given while runs wait for them.
FORBIDDEN_S = 30.0
# Beyond its grace, for a pod that is being taken away but does not end.
ENDING_S = 60.0
HOPELESS = ("not found", "manifest unknown", "unauthorized", "denied", "no such image", "invalid reference")
HOPELESS_S = 5.0


class State(Enum):
    """What there is of a connection."""

    AWAY = auto()
    SILENT = auto()
    TALKING = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sessions of one process share, by the pods' uids; it outlives each.

    `notified` has the ids of the notices that were told, so that none is told twice, `faults` since when a pod has its fault.
    `awaited` are the sessions whose agent has not answered yet.
    """

    notified: dict[str, set[str]] = field(default_factory=dict)
    faults: dict[str, tuple[str, float]] = field(default_factory=dict)
    awaited: set[object] = field(default_factory=set)

    @property
    def crowd(self) -> float:
        """How many times more agents are awaited than a few; at least 1."""
        return max(1.0, len(self.awaited) / FEW)

    def forget(self, uid: str) -> None:
        """Keep nothing more of the pod."""
        self.notified.pop(uid, None)
        self.faults.pop(uid, None)


class ExecSession:
    """One link's rules. `look_at`, `dial_at` and `ask_at` are when to look at the pod, dial, and ask for its events.

    `records` are for whoever reads the link, `commands` for the agent once the state is TALKING; the shell empties both.
    """

    def __init__(self, shared: Shared, attempt: Attempt, position: int, now: float) -> None:
        """Wait for the agent. `attempt.handle` is the pod's uid, `position` that in the spool which is followed from."""
        self.name, self._uid = pod_name(attempt), str(attempt.handle)
        self._shared, self._attempt, self._position = shared, attempt, position
        self.state = State.AWAY
        self.records: list[Record] = []
        self.commands: list[tuple[int, Json]] = []
        self.dial_at = self.look_at = self._give_up_at = 0.0
        self.ask_at = now + EVENTS_AFTER_S
        self._pause_s, self._patience_s = FIRST_PAUSE_S, DIAL_WITHIN_S
        self._refused_since: float | None = None
        self._agent_runs = False  # as the cluster showed once
        self._began = self._pulls = self._ended = False
        self._told_end = False  # by this link, in a record that no spool holds
        self._told_agent: set[str] = set()
        self._fault: str | None = None
        self._held_up: str | None = None
        self._exit: Json | None = None
        self._evidence: Json = {}
        shared.awaited.add(self)
        if shared.crowd > 1:
            self.dial_at = now + CROWDED_PAUSE_S

    def due(self) -> float:
        """Return when something is to be done without anything having happened."""
        return min(self.look_at, self.ask_at, self.dial_at if self.state is State.AWAY else NEVER)

    def close(self) -> None:
        """Await the agent no more, and leave the notices that it was not sent to the next link. Idempotent."""
        self._shared.awaited.discard(self)
        unsent = {str(body["id"]) for kind, body in self.commands if kind == Kind.NOTE}
        self._shared.notified.get(self._uid, set()).difference_update(unsent)
        if self._ended:  # the pod may be kept, but there is nothing more to tell of it
            self._shared.notified.pop(self._uid, None)

    # --- the connection

    def wants_dial(self, now: float) -> bool:
        """Say whether to dial the agent now."""
        return self.state is State.AWAY and now >= self.dial_at

    def dialling(self, now: float) -> None:
        """Count how long the connection that is being made may stay silent."""
        self._give_up_at = now + min(LONGEST_DIAL_S, self._patience_s * self._shared.crowd)

    def dialled(self, now: float) -> None:
        """There is a connection."""
        self._refused_since = None
        self.state = State.SILENT
        self._pause(now)

    def refused(self, failure: ApiFailure, now: float) -> None:
        """There is none. Where the cluster lets nobody reach pods, an attempt that was never heard of is given up."""
        logger.debug("%s: not dialled: %s", self.name, failure)
        self._pause(now)
        if not failure.of_rights:
            self._refused_since = None
            return
        if self._refused_since is None:
            self._refused_since = now
            logger.error("configuration error: pod %s cannot be reached: %s; %s", self.name, failure, SEE_DOCTOR)
        if now > self._refused_since + FORBIDDEN_S and self._position == 0:
            words = "The cluster does not allow this service to reach the run's pod, tell the administrator"
            self._end("LaunchFailed", f"{words}: {failure.message}")

    def _pause(self, now: float) -> None:
        crowded = self._shared.crowd > 1 and not self._agent_runs
        self.dial_at = now + (CROWDED_PAUSE_S if crowded else self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 1.3)

    def broke(self) -> None:
        """The connection is over."""
        self.state = State.AWAY if self.state is State.SILENT else State.LOST

    def too_long_silent(self, now: float) -> bool:
        """Say whether to hang up, because nobody has answered in time; then be patient for longer."""
        if self.state is not State.SILENT or now <= self._give_up_at:
            return False
        logger.debug("%s: the agent did not answer in time", self.name)
        self._patience_s = min(LONGEST_DIAL_S, self._patience_s * 2)
        self.state = State.AWAY
        return True

    def received(self, records: Sequence[Record], now: float) -> bool:
        """Take records of the agent; say whether it waits for the word to start."""
        self.state = State.TALKING
        self._shared.awaited.discard(self)
        self._ended = self._ended or any(record.kind == Kind.EXIT for record in records)
        beats = [record.payload for record in records if record.kind == Kind.HEARTBEAT]
        if any(b'"started": true' in beat for beat in beats) or any(record.kind in BEGUN for record in records):
            # An image whose pulling was seen: when it was there is still to be heard, once.
            self._began, self.ask_at = True, now if self._pulls else NEVER
        return any(b'"waits": true' in beat for beat in beats)

    def start(self) -> None:
        """Hand the files over and let the program begin."""
        spec = self._attempt.spec
        files = dict(spec.files)
        if spec.script is not None:
            files[script_name(spec)] = spec.script
        for name, text in files.items():
            self.commands.append((Kind.FILE, {"id": f"file-{name}", "name": name, "text": text}))
        # Reached by its name, it may be another pod than the watch last saw under it: the agent knows which one it is.
        self.commands.append((Kind.START, {"id": "start", "uid": self._uid}))

    # --- the pod

    def wants_look(self, now: float, changed: bool) -> bool:
        """Say whether to look at the pod now. `changed`: the watch says that it did."""
        if not changed and now < self.look_at:
            return False
        self.look_at = now + LOOK_EVERY_S
        return True

    def saw(self, pod: Json, verdict: Verdict, changed: bool, now: float) -> bool:
        """Take the pod as it is; say whether its fault is news: then its events are asked for before `conclude`."""
        if verdict.agent_runs and (changed or not self._agent_runs):
            self.dial_at = min(self.dial_at, now)
        self._agent_runs = self._agent_runs or verdict.agent_runs
        self._add_evidence(evidence_of(pod))
        self._fault = verdict.fault[1] if verdict.fault else None
        self._report_holdup()
        if verdict.gone and self.state is State.AWAY:
            self._end(*verdict.gone)
        if verdict.fault and verdict.leaving and self.state is State.TALKING:
            # The container's end shows in the pod's status only when all of the pod has ended; its program says it before.
            reason, message = verdict.fault
            self._send_to_agent(Kind.LEAVING, "leaving", {"reason": reason, "message": message[:1000]})
        if verdict.fault is None:
            self._shared.faults.pop(self._uid, None)
            self._exit = verdict.exited
            return False
        self._exit = self._lasting(verdict, *verdict.fault, now)
        return _of_fault(*verdict.fault).id not in self._shared.notified.get(self._uid, ())

    def conclude(self, verdict: Verdict, now: float) -> None:
        """Say what follows from what was seen last: the fault, and the end if that is known."""
        if verdict.fault:
            self._pass_notice(_of_fault(*verdict.fault))
        if self._exit and self.state is State.TALKING and self._send_to_agent(Kind.EXITED, "exited", self._exit):
            return
        if self._exit:
            self.look_at = min(self.look_at, now + LOOK_AGAIN_S)

    def gone(self) -> None:
        """There is no such pod any more, or another one of its name."""
        self._end("PodDeleted", "The run's pod is gone: somebody else deleted it.")

    def _lasting(self, verdict: Verdict, reason: str, message: str, now: float) -> Json | None:
        """Return the end that a fault amounts to once it has lasted; where there is no agent to say it to, say it here."""
        known = self._shared.faults.get(self._uid)
        if known is None or known[0] != reason:
            known = self._shared.faults[self._uid] = (reason, now)
        lasted_s = now - known[1]
        longest_s = LASTING_S.get(reason, self._attempt.spec.grace_s + ENDING_S)
        if reason == "Unschedulable":
            longest_s = self._attempt.spec.queue_timeout_s
        hopeless = reason == "ImagePullFailed" and any(word in message.lower() for word in HOPELESS)
        if hopeless:
            longest_s = HOPELESS_S
        self.look_at = min(self.look_at, now + max(0.1, longest_s - lasted_s))
        if lasted_s < longest_s:
            return None
        if verdict.fault_of_agent:
            if self.state in (State.AWAY, State.SILENT):  # while it speaks, it is there
                self._end(reason, message)
            return None
        return never(reason, message, hopeless=hopeless)

    def _add_evidence(self, found: Json) -> None:
        """Pass on what is known of the attempt's place, whenever it is more than before."""
        known = {**self._evidence, **found}
        if known != self._evidence:
            self._evidence = known
            self._record(Kind.EVIDENCE, known)

    def _report_holdup(self) -> None:
        """Tell what the start waits for, whenever that is something else."""
        why = self._fault or (PULLING if self._pulls else None)
        if not self._began and why != self._held_up:
            self._held_up = why
            self._record(Kind.HELD, {"why": why and why[:1000]})

    # --- the pod's events

    def wants_events(self, now: float) -> bool:
        """Say whether to ask for the pod's events: while the program takes its time to start; nobody needs them otherwise."""
        return (self._pulls or not self._began) and now >= self.ask_at

    def asked(self, events: Sequence[Json] | None, now: float) -> None:
        """Take the answer; None: there was none."""
        self.ask_at = now + EVENTS_EVERY_S
        if events is not None:
            self._pulls, pulled = pulling(list(events))
            self._add_evidence({"pulled": pulled} if pulled is not None else {})
            self._report_holdup()
            for notice in notices(list(events)):
                self._pass_notice(notice)
        if self._began:
            self._pulls, self.ask_at = False, NEVER

    # --- what is said

    def _pass_notice(self, notice: Notice) -> None:
        """Pass news on, once: through the agent, which knows it by its id, or past it while there is none."""
        notified = self._shared.notified.setdefault(self._uid, set())
        if notice.id in notified:
            return
        notified.add(notice.id)
        body: Json = {"code": notice.code, "message": notice.message[:1000]}
        if self.state is State.TALKING:
            self.commands.append((Kind.NOTE, {"id": notice.id, **body}))
        else:
            self._record(Kind.NOTICE, body)

    def _send_to_agent(self, kind: Kind, name: str, body: Json) -> bool:
        """Send a command unless this link did; say whether it was sent."""
        if name in self._told_agent:
            return False
        self._told_agent.add(name)
        self.commands.append((kind, {"id": name, **body}))
        return True

    def _end(self, reason: str, message: str) -> None:
        """Tell the end of an attempt whose agent says nothing more: a record that no spool holds."""
        if not self._told_end:
            self._told_end = True
            body = {"exit_code": None, "signal": None, "launch_error": None, "reason": reason, "message": message[:1000]}
            self._record(Kind.EXIT, body)

    def _record(self, kind: Kind, body: Json) -> None:
        self.records.append(Record(kind, time.time(), json.dumps(body).encode(), 0))


def _of_fault(reason: str, message: str) -> Notice:
    return Notice(f"fault-{reason}", code_of(reason), message)
