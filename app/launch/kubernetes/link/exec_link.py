"""The link to the agent of a pod: dials until the agent answers, lets the program start, and says what only the cluster knows.

The agent is dialled from the pod's creation on, long before the API server shows it as running. Only this link gives the word to
start, and only somebody who has stored the pod's uid can make it: so a pod that a supervisor created after it was overtaken
never runs anything. The rules are in exec_session.py; here sockets are read, the API is asked, and the clock.
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
from app.launch.kubernetes.link import exec_session
from app.launch.kubernetes.link.exec_session import ExecSession, Shared, State
from app.launch.kubernetes.link.exec_socket import ExecSocket
from app.launch.kubernetes.pods.manifest import BRIDGE_COMMAND, Shape
from app.launch.kubernetes.pods.pod_events import Turns
from app.launch.kubernetes.pods.verdict import judge
from app.launch.record_reader import Bell, Follower

logger = logging.getLogger(__name__)

Json = dict[str, Any]
EVENTS_APART_S = 0.5


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the links of one process share: the API, how pods are made, the watch, and what their sessions share."""

    api: KubeApi
    shape: Shape
    watch: PodWatch
    shared: Shared = field(default_factory=Shared)
    turns: Turns = field(default_factory=lambda: Turns(EVENTS_APART_S))

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
        self._cluster, self._on_start, self._position = cluster, on_start, position
        self._bell, self._follower = Bell(), Follower(position)
        self._session = ExecSession(cluster.shared, attempt, position, time.monotonic())
        self._name, self._uid = self._session.name, str(attempt.handle)
        self._socket: ExecSocket | None = None
        self._called, self._changed = threading.Event(), threading.Event()
        cluster.watch.follow(self._name, self._on_change)

    # --- the port

    def read(self, timeout_s: float) -> list[Record]:
        """Wait for records; [] after the timeout or a wake. Raises: LinkLost.

        An attempt whose agent is gone ends with an EXIT here, which names the reason and has no place in the spool.
        """
        until = time.monotonic() + timeout_s
        while True:
            self._look()
            if self._session.wants_events(time.monotonic()):
                self._ask_for_events_in_turn()
            self._flush()
            received = self._receive()
            records, self._session.records = [*self._session.records, *received], []
            if records:
                return records
            if self._called.is_set() or time.monotonic() >= until:
                self._called.clear()
                return []
            self._wait(until)

    def send(self, kind: int, body: dict[str, object]) -> None:
        """Send a command; one for an agent that has not answered yet waits in this link for that. Raises: LinkLost."""
        self._session.commands.append((kind, body))
        self._flush()

    def wake(self) -> None:
        """Make a `read` that waits return now, from any thread."""
        self._called.set()
        self._bell.ring()

    def close(self) -> None:
        """Give the connection up; the attempt runs on. Idempotent."""
        self._cluster.watch.unfollow(self._name, self._on_change)
        self._session.close()
        self._hang_up()
        self._bell.close()

    def _on_change(self) -> None:
        self._changed.set()
        self._bell.ring()

    def _wait(self, until: float) -> None:
        poll = select.poll()
        poll.register(self._bell.fd, select.POLLIN)
        if self._socket:
            poll.register(self._socket.fd, select.POLLIN)
        ready = poll.poll(max(0.0, min(until, self._session.due()) - time.monotonic()) * 1000)
        if any(fd == self._bell.fd for fd, _ in ready):
            self._bell.silence()

    # --- the connection

    def _receive(self) -> list[Record]:
        if self._session.wants_dial(time.monotonic()):
            self._dial()
        if self._socket is None:
            return []
        try:
            records = self._follower.records(self._socket.receive())
        except LinkLost as error:
            self._session.broke()
            if self._session.state is State.LOST:
                raise
            self._hang_up()
            logger.debug("%s: the agent does not answer yet: %s", self._name, error)
            return []
        if records:
            waits = self._session.received(records, time.monotonic())
            self._flush()
            if waits:
                # From here on it is known to others that the program may have begun.
                self._on_start()
                self._session.start()
                self._flush()
        elif self._session.too_long_silent(time.monotonic()):
            self._hang_up()
        return records

    def _dial(self) -> None:
        self._session.dialling(time.monotonic())
        within_s = exec_session.DIAL_WITHIN_S
        try:
            namespace = self._cluster.shape.namespace
            connection, _ = self._cluster.api.dial(namespace, self._name, "agent", BRIDGE_COMMAND, within_s)
        except ApiFailure as failure:
            if failure.missing:
                self._ask_for_pod()  # whatever the watch still believes
            self._session.refused(failure, time.monotonic())
            return
        self._socket = ExecSocket(connection)
        self._session.dialled(time.monotonic())
        self._socket.send(_encode(Kind.FOLLOW, {"from": self._position}))

    def _flush(self) -> None:
        """Send what there is to say, once the agent has answered."""
        if self._socket and self._session.commands and self._session.state in (State.TALKING, State.LOST):
            while self._session.commands:
                self._socket.send(_encode(*self._session.commands[0]))
                self._session.commands.pop(0)

    def _hang_up(self) -> None:
        connection, self._socket = self._socket, None
        if connection:
            connection.close()

    # --- the pod

    def _look(self) -> None:
        changed = self._changed.is_set()
        if not self._session.wants_look(time.monotonic(), changed):
            return
        self._changed.clear()
        pod = self._cluster.watch.pod(self._name, self._uid) or self._ask_for_pod()
        if pod is None:
            return
        verdict = judge(pod)
        is_news = self._session.saw(pod, verdict, changed, time.monotonic())
        self._flush()  # why the pod leaves is of use to the agent now, however late the API answers
        if is_news:
            self._ask_for_events()  # what led to it comes first
        self._session.conclude(verdict, time.monotonic())
        self._flush()

    def _ask_for_pod(self) -> Json | None:
        """Return the pod from the API server itself; None when that cannot be asked, or there is none any more."""
        try:
            pod = self._cluster.get(self._name)
        except ApiFailure as failure:
            if not failure.missing:
                return None
            pod = {"metadata": {"uid": ""}}
        if pod["metadata"]["uid"] == self._uid:
            return pod
        self._session.gone()
        return None

    def _ask_for_events_in_turn(self) -> None:
        now = time.monotonic()
        if self._cluster.turns.take(now):
            self._ask_for_events()
        else:
            self._session.ask_at = now + random.uniform(0.5, 1.5) * EVENTS_APART_S

    def _ask_for_events(self) -> None:
        events: list[Json] | None = None
        now = time.monotonic()
        try:
            events = self._cluster.events(self._uid)
        except ApiFailure as failure:
            logger.debug("%s: no events: %s", self._name, failure)
        self._session.asked(events, now)


def _encode(kind: int, body: dict[str, object]) -> bytes:
    return wire_format.encode(kind, time.time(), json.dumps(body).encode())
