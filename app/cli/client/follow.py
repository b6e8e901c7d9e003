"""What the frames of a run's stream mean to a watcher: order, duplicates, resets, bytes by offset, and when to connect again.

Rules only, no socket and no terminal: frames in, what to show out. Every program that follows a run with us goes through here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from app.domain.runs.events import Kind, Position, output_bytes

Event = dict[str, object]


class ProtocolFault(Exception):
    """The stream broke its own rules; connect again from the last good position."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The connection stands; `run` is the run as it is now."""

    run: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Waits:
    """The run is queued; the message says where and why."""

    message: str


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the log. `data` are the output bytes not shown before; `again` = a reset made the log tell it twice."""

    event: Event
    data: bytes = b""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Output bytes from `first` up to `last` (exclusive) were never sent."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Reset:
    """What came after `seq` is told again, numbered anew."""

    epoch: int
    seq: int


Item = Hello | Waits | Told | Missing | Reset


@dataclass(slots=True)
class Follower:
    """What a watcher knows of one run's stream. `cursor` is the position to resume from; `offset` counts the output bytes shown.

    A watcher that starts in the middle of a log does not know the offset: None until the first output tells it.
    """

    cursor: Position = field(default_factory=Position)
    offset: int | None = 0
    end: Event | None = None
    _told: list[tuple[int, str]] = field(default_factory=list)
    _again: Counter[str] = field(default_factory=Counter)

    def receive(self, frame: object) -> list[Item]:
        """Return what the frame tells. Unknown types are left for newer clients. Raises: ProtocolFault."""
        if not isinstance(frame, dict):
            raise ProtocolFault("a frame is not an object")
        kind = frame.get("type")
        if kind == "hello":
            run = frame.get("run")
            return [Hello(run if isinstance(run, dict) else {})]
        if kind == "events":
            return self._events(frame.get("events"))
        if kind == "reset":
            return [self._reset(_whole(frame, "epoch"), _whole(frame, "seq"))]
        if kind == "queue":
            return [Waits(str(frame.get("message", "")))]
        return []

    def _events(self, events: object) -> list[Item]:
        if not isinstance(events, list):
            raise ProtocolFault("a frame has no list of events")
        before = (self.cursor, self.offset, self.end, len(self._told), self._again.copy())
        try:
            return [item for event in events for item in self._event(event)]
        except ProtocolFault:
            # All of the frame or nothing: what is not shown must not count as seen.
            self.cursor, self.offset, self.end, told, self._again = before
            del self._told[told:]
            raise

    def _event(self, event: object) -> list[Item]:
        if not isinstance(event, dict):
            raise ProtocolFault("an event is not an object")
        epoch, seq = _whole(event, "epoch"), _whole(event, "seq")
        if self.end is not None or seq <= self.cursor.seq:
            return []
        if seq != self.cursor.seq + 1 or epoch < self.cursor.epoch:
            raise ProtocolFault(f"event {epoch}-{seq} does not follow {self.cursor}")
        items: list[Item] = self._output(event) if event.get("kind") == Kind.OUTPUT else [self._other(seq, event)]
        self.cursor = Position(epoch, seq)
        if event.get("kind") == Kind.END:
            self.end = event
        return items

    def _output(self, event: Event) -> list[Item]:
        start = _whole(event, "offset")
        try:
            data = output_bytes(event)
        except (KeyError, ValueError) as error:
            raise ProtocolFault("an output event has no readable bytes") from error
        shown = start if self.offset is None else self.offset
        self.offset = max(shown, start + len(data))
        fresh = data[shown - start :] if shown > start else data
        told: list[Item] = [Told(event, fresh, again=bool(data) and not fresh)]
        return [Missing(shown, start), *told] if start > shown else told

    def _other(self, seq: int, event: Event) -> Told:
        key = _identity(event)
        self._told.append((seq, key))
        again = self._again[key] > 0
        if again:
            self._again[key] -= 1
        return Told(event, again=again)

    def _reset(self, epoch: int, seq: int) -> Reset:
        if self.end is not None:
            return Reset(epoch, seq)
        # What was told after seq comes once more with other numbers: remember it, to tell it from what is new.
        self._again.update(key for number, key in self._told if number > seq)
        self._told = [(number, key) for number, key in self._told if number <= seq]
        self.cursor = Position(epoch, min(seq, self.cursor.seq))
        return Reset(epoch, seq)


class After(Enum):
    """What to do once a connection is over."""

    RECONNECT = "reconnect"
    FINISHED = "finished"
    REFUSED = "refused"


# The codes with which the server ends a stream for good; after every other one (also none) a watcher resumes.
_REFUSALS = {
    1003: "This client sent something that the server does not understand; update it.",
    1009: "This client sent more at once than the server takes.",
    4400: "This client sent something that the server does not understand; update it.",
    4401: "Your sign-in is not valid any more; sign in again with: podwire login",
    4404: "There is no such run, or it is not yours.",
}


def after_close(code: int | None, follower: Follower) -> After:
    """Say what follows a closed connection; `code` is None when it broke without one."""
    if follower.end is not None:
        return After.FINISHED
    return After.REFUSED if code in _REFUSALS else After.RECONNECT


def explain_close(code: int | None) -> str:
    """Return the sentence for a code after which there is no way on."""
    return _REFUSALS.get(code or 0, "The server ended the stream.")


def _identity(event: Event) -> str:
    """Return what makes an event the same one when it is told again: everything but its number and the writer's clock."""
    told = {name: value for name, value in event.items() if name not in ("epoch", "seq", "time")}
    return repr(sorted(told.items(), key=lambda pair: pair[0]))


def _whole(frame: Mapping[str, object], name: str) -> int:
    value = frame.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProtocolFault(f"{name} is not a whole number")
    return value
