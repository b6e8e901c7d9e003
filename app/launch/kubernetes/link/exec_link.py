"""The link to the agent of a pod: dials until the agent answers, lets the program start, and says what only the cluster knows.

The agent is dialled from the pod's creation on, long before the API server shows it as running. Only this link gives the word to
start, and only somebody who has stored the pod's uid can make it: so a pod that a supervisor created after it was overtaken
never runs anything.
"""

from __future__ import annotations

import json
import logging
import random
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.agent.records import wire_format
from app.agent.records.wire_format import Kind
from app.domain.errors import LinkLost
from app.domain.ports import Attempt, Record
from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.api.pod_watch import PodWatch
from app.launch.kubernetes.checks.rbac import SEE_DOCTOR
from app.launch.kubernetes.link.exec_socket import ExecSocket
from app.launch.kubernetes.pods.manifest import BRIDGE_COMMAND, Shape, pod_name, script_name
from app.launch.kubernetes.pods.pod_events import Notice, Turns, code_of, notices
from app.launch.kubernetes.pods.pod_facts import facts_of, pulling
from app.launch.kubernetes.pods.verdict import Verdict, judge, never
from app.launch.record_reader import Bell, Follower

logger = logging.getLogger(__name__)

Json = dict[str, Any]
# How long a connection on which nobody speaks is kept: longer after each, for a busy node is not helped by one more process.
DIAL_WITHIN_S, LONGEST_DIAL_S = 2.0, 15.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
# So many agents are dialled before the watch shows that they run. Of more, each is only dialled then, or after this time: a try
# that comes too early costs a busy node a tenth of what the pod does.
FEW, CROWDED_PAUSE_S = 4, 10.0
LOOK_EVERY_S = 5.0
PULLING = "Its image is being pulled."
BEGUN = (Kind.STARTED, Kind.EXIT)
# An API server reads all events of a namespace to find those of one pod: the links of a process take turns.
NEWS_AFTER_S, NEWS_EVERY_S, NEWS_APART_S = 1.5, 2.0, 0.5
LASTING_S = {"ImagePullFailed": 60.0, "LaunchFailed": 30.0, "NodeLost": 20.0}
# Rights may be given while runs wait for them.
FORBIDDEN_S = 30.0
# Beyond its grace, for a pod that is being taken away but does not end.
ENDING_S = 60.0
HOPELESS = ("not found", "manifest unknown", "unauthorized", "denied", "no such image", "invalid reference")
HOPELESS_S = 5.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the links of one process share.

    `said` remembers the notices of each pod, so that none is said twice, `faults` since when each has one: they outlive links.
    `awaited` are the links whose agent has not answered yet.
    """

    api: KubeApi
    shape: Shape
    watch: PodWatch
    said: dict[str, set[str]] = field(default_factory=dict)
    faults: dict[str, tuple[str, float]] = field(default_factory=dict)
    awaited: set[object] = field(default_factory=set)
    turns: Turns = field(default_factory=lambda: Turns(NEWS_APART_S))

    @property
    def crowd(self) -> float:
        """How many times more agents are awaited than a few; at least 1."""
        return max(1.0, len(self.awaited) / FEW)

    def forget(self, uid: str) -> None:
        """Keep nothing more of the pod."""
        self.said.pop(uid, None)
        self.faults.pop(uid, None)

    def get(self, name: str) -> Json:
        """Return the pod. Raises: ApiFailure."""
        return self.api.call("GET", f"/api/v1/namespaces/{self.shape.namespace}/pods/{name}")

    def events(self, uid: str) -> list[Json]:
        """Return the cluster's events about a pod. Raises: ApiFailure."""
        query = {"fieldSelector": f"involvedObject.uid={uid}"}
        return list(self.api.call("GET", f"/api/v1/namespaces/{self.shape.namespace}/events", query=query).get("items") or [])


class ExecLink:
    """A link to one attempt's agent."""

    def __init__(self, cluster: Cluster, attempt: Attempt, position: int, on_start: Callable[[], None] = lambda: None) -> None:
        """Contact nothing yet; `read` does. `attempt.handle` is the pod's uid; `on_start` is called before the word to start."""
        self._on_start = on_start
        self._cluster, self._attempt, self._position = cluster, attempt, position
        self._name, self._uid = pod_name(attempt), str(attempt.handle)
        self._bell, self._follower = Bell(), Follower(position)
        self._socket: ExecSocket | None = None
        self._heard = self._shown = self._told_exit = self._told_why = self._over = False
        self._give_up_at = self._dial_at = 0.0
        self._pause_s, self._patience_s = FIRST_PAUSE_S, DIAL_WITHIN_S
        self._look_at = 0.0
        self._called, self._changed = threading.Event(), threading.Event()
        self._refused_since: float | None = None
        self._news: list[Record] = []
        self._unsent: list[bytes] = []
        self._started = self._pulls = self._exited = False
        self._fault: str | None = None
        self._held: str | None = None
        self._known: Json = {}
        self._ask_at = time.monotonic() + NEWS_AFTER_S
        cluster.awaited.add(self)
        if cluster.crowd > 1:
            self._dial_at = time.monotonic() + CROWDED_PAUSE_S
        cluster.watch.follow(self._name, self._on_change)

    # --- the port

    def read(self, timeout_s: float) -> list[Record]:
        """Wait for records; [] after the timeout or a wake. Raises: LinkLost.

        An attempt whose agent is gone ends with an EXIT here, which names the reason and has no place in the spool.
        """
        until = time.monotonic() + timeout_s
        while True:
            self._look_if_due()
            self._ask_for_news_if_due()
            received = self._receive()
            records, self._news = [*self._news, *received], []
            if records:
                return records
            if self._called.is_set() or time.monotonic() >= until:
                self._called.clear()
                return []
            self._wait(until)

    def send(self, kind: int, body: dict[str, object]) -> None:
        """Send a command; one for an agent that has not answered yet waits in this link for that. Raises: LinkLost."""
        data = wire_format.encode(kind, time.time(), json.dumps(body).encode())
        if self._socket is None or not self._heard:
            self._unsent.append(data)
        else:
            self._socket.send(data)

    def wake(self) -> None:
        """Make a `read` that waits return now, from any thread."""
        self._called.set()
        self._bell.ring()

    def close(self) -> None:
        """Give the connection up; the attempt runs on. Idempotent."""
        self._cluster.awaited.discard(self)
        self._cluster.watch.unfollow(self._name, self._on_change)
        if self._exited:  # the pod may be kept, but there is nothing more to tell of it
            self._cluster.said.pop(self._uid, None)
        self._hang_up()
        self._bell.close()

    def _on_change(self) -> None:
        self._changed.set()
        self._bell.ring()

    def _wait(self, until: float) -> None:
        due = min(until, self._look_at, self._ask_at, self._dial_at if self._socket is None else float("inf"))
        poll = select.poll()
        poll.register(self._bell.fd, select.POLLIN)
        if self._socket:
            poll.register(self._socket.fd, select.POLLIN)
        ready = poll.poll(max(0.0, due - time.monotonic()) * 1000)
        if any(fd == self._bell.fd for fd, _ in ready):
            self._bell.silence()

    # --- the connection

    def _receive(self) -> list[Record]:
        if self._socket is None and time.monotonic() >= self._dial_at:
            self._dial()
        if self._socket is None:
            return []
        try:
            records = self._follower.records(self._socket.receive())
        except LinkLost as error:
            if self._heard:
                raise
            self._hang_up()
            logger.debug("%s: the agent does not answer yet: %s", self._name, error)
            return []
        if records:
            self._heed(records)
        if not self._heard and time.monotonic() > self._give_up_at:
            logger.debug("%s: the agent did not answer in time", self._name)
            self._hang_up()
            self._patience_s = min(LONGEST_DIAL_S, self._patience_s * 2)
        return records

    def _heed(self, records: list[Record]) -> None:
        self._heard = True
        self._cluster.awaited.discard(self)
        if self._unsent and self._socket:
            self._socket.send(b"".join(self._unsent))
            self._unsent.clear()
        self._exited = self._exited or any(record.kind == Kind.EXIT for record in records)
        beats = [record.payload for record in records if record.kind == Kind.HEARTBEAT]
        if any(b'"waits": true' in beat for beat in beats):
            self._let_start()
        if any(b'"started": true' in beat for beat in beats) or any(record.kind in BEGUN for record in records):
            # An image whose pulling was seen: when it was there is still to be heard, once.
            self._started, self._ask_at = True, time.monotonic() if self._pulls else float("inf")

    def _dial(self) -> None:
        self._give_up_at = time.monotonic() + min(LONGEST_DIAL_S, self._patience_s * self._cluster.crowd)
        try:
            shape = self._cluster.shape
            connection, _ = self._cluster.api.dial(shape.namespace, self._name, "agent", BRIDGE_COMMAND, DIAL_WITHIN_S)
        except ApiFailure as failure:
            logger.debug("%s: not dialled: %s", self._name, failure)
            if failure.missing:
                self._asked_for()  # whatever the watch still believes
            self._count_refusal(failure)
        else:
            self._refused_since = None
            self._socket = ExecSocket(connection)
            follow = json.dumps({"from": self._position}).encode()
            self._socket.send(wire_format.encode(Kind.FOLLOW, time.time(), follow))
        crowded = self._cluster.crowd > 1 and not self._shown
        self._dial_at = time.monotonic() + (CROWDED_PAUSE_S if crowded else self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 1.3)

    def _count_refusal(self, failure: ApiFailure) -> None:
        """Say so where the cluster does not let this service reach pods; give up an attempt that nobody ever heard of."""
        if not failure.of_rights:
            self._refused_since = None
            return
        if self._refused_since is None:
            self._refused_since = time.monotonic()
            logger.error("configuration error: pod %s cannot be reached: %s; %s", self._name, failure, SEE_DOCTOR)
        if time.monotonic() > self._refused_since + FORBIDDEN_S and self._position == 0 and not self._heard:
            words = "The cluster does not allow this service to reach the run's pod, tell the administrator"
            self._end("LaunchFailed", f"{words}: {failure.message}")

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection:
            connection.close()

    def _let_start(self) -> None:
        """Hand the files over and let the program begin, once it is known to others that it may have."""
        self._on_start()
        spec = self._attempt.spec
        files = dict(spec.files)
        if spec.script is not None:
            files[script_name(spec)] = spec.script
        for name, text in files.items():
            self.send(Kind.FILE, {"id": f"file-{name}", "name": name, "text": text})
        # Reached by its name, it may be another pod than the watch last saw under it: the agent knows which one it is.
        self.send(Kind.START, {"id": "start", "uid": self._uid})

    # --- the pod

    def _learn(self, facts: Json) -> None:
        """Pass on what is known of the attempt's place, whenever it is more than before."""
        known = {**self._known, **facts}
        if known != self._known:
            self._known = known
            self._news.append(Record(Kind.FACTS, time.time(), json.dumps(known).encode(), 0))

    def _look_if_due(self) -> None:
        if not self._changed.is_set() and time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        changed = self._changed.is_set()
        self._changed.clear()
        pod = self._cluster.watch.pod(self._name, self._uid) or self._asked_for()
        if pod is not None:
            verdict = judge(pod)
            if verdict.agent_runs and (changed or not self._shown):
                self._dial_at = min(self._dial_at, time.monotonic())
            self._shown = self._shown or verdict.agent_runs
            self._learn(facts_of(pod))
            self._act_on(verdict)

    def _asked_for(self) -> Json | None:
        """Return the pod from the API server itself; None when that cannot be asked, or there is none any more."""
        try:
            pod = self._cluster.get(self._name)
        except ApiFailure as failure:
            if not failure.missing:
                return None
            pod = {"metadata": {"uid": ""}}
        if pod["metadata"]["uid"] == self._uid:
            return pod
        self._end("PodDeleted", "The run's pod is gone: somebody else deleted it.")
        return None

    def _say_what_holds_up(self) -> None:
        """Tell what the start waits for, whenever that is something else."""
        why = self._fault or (PULLING if self._pulls else None)
        if not self._started and why != self._held:
            self._held = why
            self._news.append(Record(Kind.HELD, time.time(), json.dumps({"why": why and why[:1000]}).encode(), 0))

    def _act_on(self, verdict: Verdict) -> None:
        self._fault = verdict.fault[1] if verdict.fault else None
        self._say_what_holds_up()
        if verdict.gone and self._socket is None:
            self._end(*verdict.gone)
        exited = verdict.exited
        if verdict.fault and verdict.leaving and self._heard and self._socket and not self._told_why:
            # The container's end shows in the pod's status only when all of the pod has ended; its program says it before.
            reason, message = verdict.fault
            self.send(Kind.LEAVING, {"id": "leaving", "reason": reason, "message": message[:1000]})
            self._told_why = True
        if verdict.fault:
            exited = self._lasting(verdict)
            self._tell_fault(*verdict.fault)
        else:
            self._cluster.faults.pop(self._uid, None)
        if exited and self._heard and self._socket and not self._told_exit:
            self.send(Kind.EXITED, {"id": "exited", **exited})
            self._told_exit = True
        elif exited:
            self._look_at = min(self._look_at, time.monotonic() + 0.5)

    def _lasting(self, verdict: Verdict) -> Json | None:
        """Return the end that a fault amounts to once it has lasted; where there is no agent to say it to, say it here."""
        if verdict.fault is None:
            return None
        reason, message = verdict.fault
        known = self._cluster.faults.get(self._uid)
        if known is None or known[0] != reason:
            known = self._cluster.faults[self._uid] = (reason, time.monotonic())
        lasted_s = time.monotonic() - known[1]
        longest_s = LASTING_S.get(reason, self._attempt.spec.grace_s + ENDING_S)
        if reason == "Unschedulable":
            longest_s = self._attempt.spec.queue_timeout_s
        if reason == "ImagePullFailed" and any(word in message.lower() for word in HOPELESS):
            longest_s = HOPELESS_S
        self._look_at = min(self._look_at, time.monotonic() + max(0.1, longest_s - lasted_s))
        if lasted_s < longest_s:
            return None
        hopeless = longest_s == HOPELESS_S
        if verdict.fault_of_agent:
            if not self._heard:  # while it speaks, it is there
                self._end(reason, message)
            return None
        return never(reason, message, hopeless=hopeless)

    def _ask_for_news_if_due(self) -> None:
        """Ask for the pod's events while the program takes its time to start; nobody needs them otherwise."""
        if (self._pulls or not self._started) and time.monotonic() >= self._ask_at:
            if self._cluster.turns.take(time.monotonic()):
                self._ask_for_news()
            else:
                self._ask_at = time.monotonic() + random.uniform(0.5, 1.5) * NEWS_APART_S

    def _tell_fault(self, reason: str, message: str) -> None:
        fault = Notice(f"fault-{reason}", code_of(reason), message)
        if fault.id not in self._cluster.said.get(self._uid, ()):
            self._ask_for_news()  # what led to it comes first
            self._tell(fault)

    def _ask_for_news(self) -> None:
        self._ask_at = time.monotonic() + NEWS_EVERY_S
        try:
            events = self._cluster.events(self._uid)
            self._pulls, pulled = pulling(events)
            self._learn({"pulled": pulled} if pulled is not None else {})
            self._say_what_holds_up()
            for notice in notices(events):
                self._tell(notice)
        except ApiFailure as failure:
            logger.debug("%s: no events: %s", self._name, failure)
        if self._started:
            self._pulls, self._ask_at = False, float("inf")

    def _tell(self, notice: Notice) -> None:
        """Pass news on, once: through the agent, which knows it by its id, or past it while there is none."""
        said = self._cluster.said.setdefault(self._uid, set())
        if notice.id in said:
            return
        said.add(notice.id)
        body: Json = {"code": notice.code, "message": notice.message[:1000]}
        if self._heard and self._socket:
            self.send(Kind.NOTE, {"id": notice.id, **body})
        else:
            self._news.append(Record(Kind.NOTICE, time.time(), json.dumps(body).encode(), 0))

    def _end(self, reason: str, message: str) -> None:
        """Tell the end of an attempt whose agent says nothing more: a record that no spool holds."""
        if not self._over:
            body = {"exit_code": None, "signal": None, "launch_error": None, "reason": reason, "message": message[:1000]}
            self._news.append(Record(Kind.EXIT, time.time(), json.dumps(body).encode(), 0))
            self._over = True
