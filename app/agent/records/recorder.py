"""From what was read of the program's pipes to records: when to write one, and where to cut. No I/O and no clock.

The first bytes after silence become a record at once; what follows within 50 ms is gathered. Records hold at most 64 KB,
keep the order in which the bytes were read across both streams, and do not cut a UTF-8 character: up to three bytes at
the end wait for their rest, but not for longer than 50 ms.
"""

from __future__ import annotations

from app.agent.records.wire_format import MAX_OUTPUT

GATHER_S = 0.05

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Emit = Callable[[int, bytes], None]


class Recorder:
    """Gathers output and passes it to `emit(kind, data)`. Times are seconds of any clock that does not jump."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._pending: list[tuple[int, bytearray]] = []
        self._size = 0
        self._flush_at = 0.0
        self._tails: dict[int, tuple[bytes, float]] = {}

    def feed(self, kind: int, data: bytes, now: float) -> None:
        """Take what was read of a stream."""
        if self._pending and self._pending[-1][0] == kind:
            self._pending[-1][1].extend(data)
        else:
            self._pending.append((kind, bytearray(data)))
        self._size += len(data)
        if now >= self._flush_at or self._size >= MAX_OUTPUT:
            self.flush(now)

    def due(self) -> float | None:
        """When `tick` should be called next; None while nothing waits."""
        times = [since + GATHER_S for _, since in self._tails.values()]
        if self._pending:
            times.append(self._flush_at)
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Emit what has waited long enough."""
        if self._pending and now >= self._flush_at:
            self.flush(now)
        for kind in [kind for kind, (_, since) in self._tails.items() if now >= since + GATHER_S]:
            self._emit(kind, self._tails.pop(kind)[0])

    def flush(self, now: float, everything: bool = False) -> None:
        """Emit what is gathered; with `everything` also the beginnings of characters whose rest never came."""
        pending, self._pending, self._size = self._pending, [], 0
        self._flush_at = now + GATHER_S
        for kind, data in pending:
            self._emit_pieces(kind, bytes(data), now)
        if everything:
            for kind in list(self._tails):
                self._emit(kind, self._tails.pop(kind)[0])

    def _emit_pieces(self, kind: int, data: bytes, now: float) -> None:
        tail, since = self._tails.pop(kind, (b"", now))
        data = tail + data
        start = 0
        while len(data) - start > MAX_OUTPUT:
            end = start + MAX_OUTPUT
            end -= unfinished(data[start:end])
            self._emit(kind, data[start:end])
            start = end
        rest = data[start:]
        held = unfinished(rest)
        if held:
            # A tail that only grew is as old as its first byte, else a trickle could hold it back for long.
            self._tails[kind] = (rest[-held:], since if held == len(data) else now)
            rest = rest[:-held]
        if rest:
            self._emit(kind, rest)


def unfinished(data: bytes) -> int:
    """Return how many bytes at the end are the beginning of a UTF-8 character that goes on: 0 to 3."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if 0x80 <= byte <= 0xBF:
            continue
        needs = 2 if 0xC2 <= byte <= 0xDF else 3 if 0xE0 <= byte <= 0xEF else 4 if 0xF0 <= byte <= 0xF4 else 0
        return back if needs > back else 0
    return 0


class Cap:
    """Lets exactly the first `limit` bytes through, and counts the rest."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.recorded = self.withheld = 0

    def admit(self, data: bytes) -> tuple[bytes, bool]:
        """Return what may be recorded of the data, and whether these are the first bytes that are withheld."""
        room = self.limit - self.recorded
        kept = data[:room] if len(data) > room else data
        over = len(data) - len(kept)
        first = over > 0 and self.withheld == 0
        self.recorded += len(kept)
        self.withheld += over
        return kept, first
