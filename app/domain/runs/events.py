"""The entries of a run's log: their kinds, their one encoded form (a payload) and the position that a watcher resumes from."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import BadRequest
from app.domain.runs.run import Outcome

# What a JSON string may not hold as it is (RFC 8259, section 7). The backslash first: the others are written with one.
_OFTEN = ((b"\\", rb"\\"), (b'"', rb"\""), (b"\n", rb"\n"), (b"\r", rb"\r"), (b"\t", rb"\t"), (b"\x1b", rb"\u001b"))
_RARE = bytes(set(range(0x20)) - set(b"\n\r\t\x1b"))


class Kind(StrEnum):
    """The kinds of events."""

    OUTPUT = "output"
    STATUS = "status"
    QUESTION = "question"
    ANSWER = "answer"
    NOTICE = "notice"
    END = "end"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a watcher is in a run's log: after event `seq`, seen in `epoch`. `0-0` is the beginning."""

    epoch: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `epoch-seq`. Raises: BadRequest when the text has another form."""
        epoch, dash, seq = text.partition("-")
        if not (dash and epoch.isascii() and epoch.isdigit() and seq.isascii() and seq.isdigit() and len(text) < 40):
            raise BadRequest(f"position: {text[:40]!r} is not of the form epoch-seq, such as 1-42.")
        return cls(int(epoch), int(seq))


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the log stores it: the encoded payload, and the agent's spool position after the record it came from."""

    seq: int
    payload: bytes
    spool: int = 0


def encode(epoch: int, seq: int, time: float, kind: Kind, fields: dict[str, object]) -> bytes:
    """Return the event's payload: compact UTF-8 JSON. This is the only place where an event is encoded."""
    event = {"epoch": epoch, "seq": seq, "kind": kind.value, "time": round(time, 6), **fields}
    text = event.pop("text") if kind is Kind.OUTPUT and "text" in event else None
    payload = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return payload if text is None else payload[:-1] + b',"text":"' + _escaped(str(text).encode()) + b'"}'


def _escaped(text: bytes) -> bytes:
    """Return UTF-8 as it stands in a JSON string; for output, a third of the time that the json package takes."""
    if len(text.translate(None, _RARE)) != len(text):
        return json.dumps(text.decode(), ensure_ascii=False).encode()[1:-1]
    for raw, written in _OFTEN:
        text = text.replace(raw, written)
    return text


def output_fields(stream: str, offset: int, data: bytes) -> dict[str, object]:
    """Return the fields of an output event: `text` where the bytes are UTF-8, else `base64`."""
    try:
        return {"stream": stream, "offset": offset, "text": data.decode()}
    except UnicodeDecodeError:
        return {"stream": stream, "offset": offset, "base64": base64.b64encode(data).decode()}


def output_bytes(event: dict[str, object]) -> bytes:
    """Return the bytes that the program wrote, from a decoded output event."""
    if "text" in event:
        return str(event["text"]).encode()
    return base64.b64decode(str(event["base64"]))


def end_fields(outcome: Outcome, total_bytes: int, withheld_bytes: int) -> dict[str, object]:
    """Return the fields of the end event."""
    return {
        "status": outcome.status.value,
        "reason": outcome.reason.value,
        "message": outcome.message,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "output_bytes": total_bytes,
        "withheld_bytes": withheld_bytes,
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "cpu_seconds": outcome.cpu_seconds,
    }


def resume_point(cursor: Position, bases: Iterable[tuple[int, int]]) -> int | None:
    """Say where a watcher's knowledge ends to be true: None when its cursor is valid as it is, else the seq to fall back to.

    `bases` are the run's (epoch, base_seq): an epoch keeps the events up to its base and rewrites what followed.
    """
    later = [base for epoch, base in bases if epoch > cursor.epoch]
    if cursor.seq == 0 or not later or min(later) >= cursor.seq:
        return None
    return min(later)


def epoch_after(seq: int, bases: Iterable[tuple[int, int]]) -> int:
    """Return the epoch in which the log goes on after `seq`: the latest that keeps everything up to it."""
    return max((epoch for epoch, base in bases if base <= seq), default=1)


def join_payloads(payloads: Sequence[bytes]) -> bytes:
    """Return the WebSocket text frame that carries these payloads, verbatim and in order."""
    return b'{"type":"events","events":[' + b",".join(payloads) + b"]}"
