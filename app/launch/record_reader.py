"""What every link is made of: a bell that wakes a reader, and the count of the spool position along the records."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from app.agent.records import wire_format
from app.domain.ports import Record


class Bell:
    """Wakes a poll from any thread, also from one that comes after the end."""

    def __init__(self) -> None:
        """Begin silent; `fd` is what a poll waits for."""
        self._lock = threading.Lock()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        """Make a poll for `fd` return."""
        with self._lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def silence(self) -> None:
        """Undo every ring so far."""
        os.eventfd_read(self.fd)

    def close(self) -> None:
        """Give the descriptor up. Idempotent."""
        with self._lock:
            if self.fd >= 0:
                os.close(self.fd)
            self.fd = -1


class Follower:
    """Turns frames into records, and knows the spool position after each."""

    def __init__(self, position: int) -> None:
        """Begin after the spool position."""
        self._position = position

    def records(self, frames: Iterable[wire_format.Frame]) -> list[Record]:
        """Return the frames as records."""
        return [self._record(*frame) for frame in frames]

    def _record(self, kind: int, at: float, payload: bytes) -> Record:
        if not wire_format.spooled(kind):
            return Record(kind, at, payload, 0)
        self._position += wire_format.HEADER.size + len(payload)
        return Record(kind, at, payload, self._position)
