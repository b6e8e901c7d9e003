"""What a client that follows a run makes of its stream, checked strictly: order, gaps, duplicates, bytes, one end.

Written against the description of the protocol, not against the product's own client, so that the two cannot share a mistake.
No I/O.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]


@dataclass
class Transcript:
    """Everything that was told about one run, through any number of connections. `faults` is empty as long as all was right."""

    events: list[Event] = field(default_factory=list)
    epoch: int = 0
    seq: int = 0
    shown: bytearray = field(default_factory=bytearray)
    ends: int = 0
    resets: int = 0
    deliveries: int = 0
    gaps: int = 0
    duplicates: int = 0
    faults: list[str] = field(default_factory=list)
    waits: list[Event] = field(default_factory=list)
    hellos: list[Event] = field(default_factory=list)
    replies: list[Event] = field(default_factory=list)

    @property
    def position(self) -> str:
        """Where to resume."""
        return f"{self.epoch}-{self.seq}"

    @property
    def ended(self) -> bool:
        """True once the end event was told."""
        return self.ends > 0

    @property
    def end(self) -> Event:
        """The end event."""
        return next(event for event in self.events if event["kind"] == "end")

    def frame(self, text: str | bytes) -> None:
        """Take a frame of the WebSocket."""
        frame = json.loads(text)
        kind = frame["type"]
        if kind == "events":
            if not frame["events"]:
                self.faults.append("a frame of no events")
            for event in frame["events"]:
                self.event(event)
        elif kind == "reset":
            self.reset(frame["epoch"], frame["seq"])
        else:
            {"hello": self.hellos, "queue": self.waits, "reply": self.replies}[kind].append(frame)

    def reset(self, epoch: int, seq: int) -> None:
        """Forget what came after `seq`."""
        self.resets += 1
        if self.ended:
            self.faults.append(f"a reset to {epoch}-{seq} after the end")
        if epoch <= self.epoch or seq > self.seq:
            self.faults.append(f"a reset from {self.position} to {epoch}-{seq}")
        self.events = [event for event in self.events if event["seq"] <= seq]
        self.epoch, self.seq = epoch, seq

    def event(self, event: Event) -> None:
        """Take an event."""
        self.deliveries += 1
        epoch, seq = event["epoch"], event["seq"]
        if self.ended:
            self.duplicates += 1
            self.faults.append(f"event {epoch}-{seq} after the end")
        if seq <= self.seq:
            self.duplicates += 1
            self.faults.append(f"event {epoch}-{seq} again after {self.position}")
            return
        if seq != self.seq + 1 or epoch < self.epoch:
            self.gaps += 1
            self.faults.append(f"event {epoch}-{seq} after {self.position}")
        self.epoch, self.seq = epoch, seq
        self.events.append(event)
        if event["kind"] == "output":
            self._output(event)
        if event["kind"] == "end":
            self.ends += 1

    def _output(self, event: Event) -> None:
        data, offset = output_bytes(event), event["offset"]
        if offset > len(self.shown):
            self.gaps += 1
            self.faults.append(f"output at {offset}, although only {len(self.shown)} bytes were told")
            return
        again = self.shown[offset : offset + len(data)]
        if again != data[: len(again)]:
            self.faults.append(f"other bytes at {offset} than before: {bytes(again[:80])!r}, then {data[:80]!r}")
        if again and not self.resets:
            self.duplicates += 1
            self.faults.append(f"the bytes at {offset} again without a reset")
        self.shown += data[len(again) :]

    @property
    def output(self) -> bytes:
        """All output, put together from the events that are valid in the end; equal to what was `shown` on the way."""
        return b"".join(output_bytes(event) for event in self.events if event["kind"] == "output")

    def of_kind(self, kind: str) -> list[Event]:
        """Return the events of a kind."""
        return [event for event in self.events if event["kind"] == kind]

    def check(self, expected: bytes | None = None) -> None:
        """Fail unless the run was told completely and correctly (and wrote the expected bytes)."""
        complaints = list(self.faults)
        if self.ends != 1:
            complaints.append(f"{self.ends} end events")
        if self.output != bytes(self.shown):
            complaints.append("the events' output is not what was shown")
        if self.ended and self.end["output_bytes"] != len(self.shown):
            complaints.append(f"the end speaks of {self.end['output_bytes']} bytes, {len(self.shown)} were shown")
        if expected is not None and bytes(self.shown) != expected:
            complaints.append(difference(bytes(self.shown), expected))
        if complaints:
            raise AssertionError("; ".join(complaints[:10]))


def output_bytes(event: Event) -> bytes:
    """Return the bytes of an output event."""
    return event["text"].encode() if "text" in event else base64.b64decode(event["base64"])


def difference(seen: bytes, expected: bytes) -> str:
    """Say where two outputs begin to differ."""
    at = next((i for i, (a, b) in enumerate(zip(seen, expected, strict=False)) if a != b), min(len(seen), len(expected)))
    around = slice(max(0, at - 30), at + 50)
    return f"{len(seen)} bytes, expected {len(expected)}; from {at}: {seen[around]!r}, expected {expected[around]!r}"
