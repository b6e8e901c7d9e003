"""Which sleeping supervisor of this process a nudge wakes. Purely local: a lost wake-up costs seconds, never an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Wakeups:
    """Wake-up calls by run id. Thread-safe."""

    def __init__(self) -> None:
        """Begin with nobody asleep."""
        self._lock = threading.Lock()
        self._calls: dict[str, Callable[[], None]] = {}

    @contextmanager
    def registered(self, run_id: str, call: Callable[[], None]) -> Iterator[None]:
        """Have `call` made on every nudge for the run while inside."""
        with self._lock:
            self._calls[run_id] = call
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(run_id, None)

    def on_nudge(self, run_id: str, what: str) -> None:
        """Wake the run's supervisor, or every one when `run_id` is `*`. News of the queue concerns no supervisor."""
        if what == "queue":
            return
        with self._lock:
            calls = list(self._calls.values()) if run_id == "*" else [c for c in (self._calls.get(run_id),) if c]
        for call in calls:
            call()
