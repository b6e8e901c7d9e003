"""What a watcher is handed: batches of events with their one encoded WebSocket frame, and resets. Values only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.domain.runs.events import Kind, Position, join_payloads
from app.live.names import stamp

QUEUED = b'"status":"queued"'


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that follow on, for every watcher at the same place.

    `last` is the position after them; `ended` says that the end event is behind the watcher, which is then done; `frame`
    is the complete unmasked WebSocket text frame, empty when there are no payloads; `full` says that it was cut by size;
    `queued` that the run is back in the queue, for another attempt.
    """

    payloads: tuple[bytes, ...]
    last: Position
    ended: bool
    frame: bytes
    full: bool = False
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget what came after event `seq`: it is written anew in `epoch`."""

    epoch: int
    seq: int


def text_frame(body: bytes) -> bytes:
    """Return the one WebSocket frame of a server's text message (RFC 6455, section 5.2)."""
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


def make_batch(epoch: int, after: int, payloads: Sequence[bytes], *, full: bool = False) -> Batch:
    """Return the batch of the payloads that follow seq `after`, as seen in `epoch`."""
    ended = stamp(payloads[-1])[1] is Kind.END
    frame = text_frame(join_payloads(payloads))
    return Batch(tuple(payloads), Position(epoch, after + len(payloads)), ended, frame, full, _queued(payloads, frame))


def _queued(payloads: Sequence[bytes], frame: bytes) -> bool:
    # Looked at closely only where the word is there at all: this is done for all that is ever written.
    if QUEUED not in frame:
        return False
    steps = [payload for payload in payloads if stamp(payload)[1] is Kind.STATUS]
    return bool(steps) and QUEUED in steps[-1]


def nothing_more(at: Position) -> Batch:
    """Return the batch for a watcher that has seen the end event already."""
    return Batch((), at, True, b"")


def cut(epoch: int, after: int, payloads: Sequence[bytes], max_bytes: int) -> Iterator[Batch]:
    """Return batches of about `max_bytes` and at least one payload each; the last may be smaller."""
    start, size = 0, 0
    for index, payload in enumerate(payloads):
        if size and size + len(payload) > max_bytes:
            yield make_batch(epoch, after + start, payloads[start:index], full=True)
            start, size = index, 0
        size += len(payload)
    yield make_batch(epoch, after + start, payloads[start:])
