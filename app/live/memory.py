"""Twins of the live log and of the nudges in the memory of one process, held to the same contract suite.

For tests and for one process alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.domain.ports import Append, Head
from app.domain.runs.events import Entry

RESYNC = ("*", "resync")


@dataclass(slots=True)
class _Log:
    head: Head
    entries: list[Entry] = field(default_factory=list)


class MemoryEventLog:
    """ports.EventLog in memory. Thread-safe. `clear()` and `restart()` do to it what happens to a Redis."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._starts = 1

    def append(self, run_id: str, token: int, epoch: int, entries: Sequence[Entry]) -> Append:
        """Append what is not there yet, if it follows on."""
        with self._lock:
            log = self._logs.get(run_id)
            if log is None:
                return Append.MISSING
            if token < log.head.token:
                return Append.FENCED
            log.head = Head(token, log.head.epoch, log.head.seq, log.head.floor, log.head.server)
            if not entries:
                return Append.OK
            if epoch != log.head.epoch or entries[0].seq > log.head.seq + 1:
                return Append.BEHIND
            log.entries += [entry for entry in entries if entry.seq > log.head.seq]
            log.head = Head(token, epoch, max(log.head.seq, entries[-1].seq), log.head.floor, log.head.server)
            return Append.OK

    def open(self, run_id: str, token: int, epoch: int, floor: int) -> Append:
        """Begin the log anew so that `floor + 1` is the next seq."""
        with self._lock:
            log = self._logs.get(run_id)
            if log is not None and token < log.head.token:
                return Append.FENCED
            self._logs[run_id] = _Log(Head(token, epoch, floor, floor, self._server()))
            return Append.OK

    def trim(self, run_id: str, token: int, archived_seq: int) -> Append:
        """Forget the events up to `archived_seq`."""
        with self._lock:
            log = self._logs.get(run_id)
            if log is None:
                return Append.MISSING
            if token < log.head.token:
                return Append.FENCED
            floor = max(log.head.floor, min(archived_seq, log.head.seq))
            log.entries = [entry for entry in log.entries if entry.seq > floor]
            log.head = Head(log.head.token, log.head.epoch, log.head.seq, floor, log.head.server)
            return Append.OK

    def head(self, run_id: str) -> Head | None:
        """Return the head, or None where nothing is held."""
        with self._lock:
            log = self._logs.get(run_id)
            return None if log is None else log.head

    def read(self, run_id: str, epoch: int, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` entries of the epoch with seq > `after`, in order."""
        with self._lock:
            log = self._logs.get(run_id)
            if log is None or log.head.epoch != epoch:
                return []
            return [entry for entry in log.entries if entry.seq > after][:limit]

    def server_id(self) -> str:
        """Return the identity of the running server."""
        with self._lock:
            return self._server()

    def clear(self) -> None:
        """Forget everything, as FLUSHALL does."""
        with self._lock:
            self._logs.clear()

    def restart(self) -> None:
        """Forget everything and become another server."""
        with self._lock:
            self._logs.clear()
            self._starts += 1

    def _server(self) -> str:
        return f"memory-{self._starts}"


class MemoryNudges:
    """ports.Nudges between the threads of one process."""

    def __init__(self) -> None:
        """Begin without listeners."""
        self._changed = threading.Condition()
        self._boxes: list[list[tuple[str, str]]] = []

    def send(self, run_id: str, what: str) -> None:
        """Put the nudge into the box of everyone who listens now."""
        with self._changed:
            for box in self._boxes:
                box.append((run_id, what))
            self._changed.notify_all()

    def listen(self, on_nudge: Callable[[str, str], None], stop: Callable[[], bool]) -> None:
        """Call `on_nudge` for each nudge until `stop()`; it is asked a few times a second."""
        box = [RESYNC]
        with self._changed:
            self._boxes.append(box)
        try:
            while not stop():
                for run_id, what in self._drain(box):
                    on_nudge(run_id, what)
        finally:
            with self._changed:
                # By identity: two boxes of equal content are equal lists.
                self._boxes = [other for other in self._boxes if other is not box]

    def _drain(self, box: list[tuple[str, str]]) -> list[tuple[str, str]]:
        with self._changed:
            self._changed.wait_for(lambda: bool(box), timeout=0.2)
            taken = box[:]
            box.clear()
            return taken
