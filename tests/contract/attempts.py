"""Following attempts in tests: a follower that keeps everything an agent said, and connects again when a link is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

from app.agent.records import wire_format
from app.agent.records.wire_format import Kind
from app.domain.errors import LauncherUnavailable, LinkLost
from app.domain.ids import new_run_id
from app.domain.ports import Attempt, Launcher, Link, Record
from app.domain.runs.spec import RunSpec

DEADLINE_S = 60.0

_followers: list[Follower] = []


def attempt(number: int = 1, **spec: object) -> Attempt:
    """Return an attempt of a fresh run."""
    return Attempt(new_run_id(), number, RunSpec(**spec))  # type: ignore[arg-type]


def python(script: str, **spec: object) -> Attempt:
    return attempt(script=script, language="python", **spec)


def bash(script: str, **spec: object) -> Attempt:
    return attempt(script=script, language="bash", **spec)


def clear(launcher: Launcher) -> None:
    """End a test: close every follower's link and remove every attempt."""
    while _followers:
        _followers.pop().drop()
    for run_id, number in launcher.present():
        launcher.remove(Attempt(run_id, number, RunSpec()))


def launched(launcher: Launcher, what: Attempt) -> Follower:
    """Launch, store the handle as a supervisor does, and follow."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            handle = launcher.launch(what)
            break
        except LauncherUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    return Follower(launcher, replace(what, handle=handle))


class Follower:
    """One client of an attempt."""

    def __init__(self, launcher: Launcher, followed: Attempt, position: int = 0) -> None:
        self._launcher, self.attempt = launcher, followed
        self._link: Link | None = None
        self.position = position
        self.records: list[Record] = []
        self.messages: list[Record] = []
        self.acks: dict[str, dict[str, object]] = {}
        _followers.append(self)

    def until(self, done: Callable[[], object]) -> None:
        """Read until the condition holds. Raises: AttemptGone when that is all there is."""
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError(f"It did not come to that; the last records: {self.records[-5:]}")
            try:
                records = self.link.read(0.2)
            except (LinkLost, LauncherUnavailable):
                self.drop()
                continue
            for record in records:
                self._keep(record)

    def _keep(self, record: Record) -> None:
        if record.kind == Kind.ACK:
            body = json.loads(record.payload)
            self.acks[body["id"]] = body
        elif wire_format.spooled(record.kind):
            self.records.append(record)
            # News that the link tells by itself have no place in the spool.
            self.position = record.position or self.position
        else:
            self.messages.append(record)

    @property
    def link(self) -> Link:
        if self._link is None:
            self._link = self._launcher.connect(self.attempt, self.position)
        return self._link

    def send(self, kind: Kind, command: str, **body: object) -> dict[str, object]:
        """Send a command and return its acknowledgement."""
        self.acks.pop(command, None)
        self.link.send(kind, {"id": command, **body})
        self.until(lambda: command in self.acks)
        return self.acks[command]

    def answer(self, number: int, value: object, state: str = "answered") -> dict[str, object]:
        return self.send(Kind.REPLY, f"reply-{number}", number=number, state=state, value=value)

    def drop(self) -> None:
        link, self._link = self._link, None
        if link:
            link.close()

    def to_end(self) -> dict[str, object]:
        """Read to the exit and return it."""
        self.until(lambda: self.records and self.records[-1].kind == Kind.EXIT)
        return self.bodies(Kind.EXIT)[-1]

    def output(self, *kinds: Kind) -> bytes:
        wanted = kinds or (Kind.STDOUT, Kind.STDERR)
        return b"".join(record.payload for record in self.records if record.kind in wanted)

    def bodies(self, kind: Kind) -> list[dict[str, object]]:
        return [json.loads(record.payload) for record in self.records if record.kind == kind]

    def spooled(self) -> list[Record]:
        """Return what the agent recorded; the link tells news by itself, even before the agent says anything."""
        return [record for record in self.records if record.position]

    def frames(self) -> list[bytes]:
        """Return the records as they are in the spool."""
        return [wire_format.encode(record.kind, record.time, record.payload) for record in self.spooled()]
