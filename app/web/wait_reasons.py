"""Why runs have not started yet, looked up at most once a second for each run, however many sockets ask. A pure cache."""

from __future__ import annotations

import threading
import time
from typing import TypeAlias

from app.domain.runs.run import Run, Status
from app.service import queries
from app.service.queries import QueueSnapshot, WaitReason
from app.service.services import Services

# Whether the run has yet to start, and what it waits for.
StartState: TypeAlias = tuple[bool, WaitReason | None]
NOT_STARTED = (Status.QUEUED, Status.STARTING)
FRESH_S = 1.0
# Queued runs; to look at fewer takes some milliseconds.
LONG = 2_000
MAX_KEPT = 10_000


class WaitReasonCache:
    """What runs wait for, each at most `FRESH_S` seconds old. Thread-safe."""

    def __init__(self, services: Services) -> None:
        """Nothing is known."""
        self._services = services
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, StartState]] = {}
        self._snapshot: tuple[float, QueueSnapshot] | None = None
        self._one_at_a_time = threading.Lock()

    def of_id(self, run_id: str) -> StartState:
        """Return whether the run has yet to start, and what it waits for. Raises: StoreUnavailable."""
        now = time.monotonic()
        with self._lock:
            known = self._known.get(run_id)
            if known and known[0] > now:
                return known[1]
            if len(self._known) >= MAX_KEPT:
                self._known.clear()
        run: Run | None = self._services.store.runs.get(run_id)
        state: StartState = (False, None)
        if run is not None and run.status in NOT_STARTED:
            snapshot = self._within(FRESH_S * 0.9) if run.status is Status.QUEUED else None
            state = (True, queries.wait_reason(self._services, run, snapshot))
        with self._lock:
            self._known[run_id] = (now + FRESH_S * 0.9, state)
        return state

    def of_run(self, run: Run) -> WaitReason | None:
        """Return what the run waits for, as of now; in a long queue its place is as of the last second.

        Raises: StoreUnavailable.
        """
        known = self._snapshot
        is_long = known is not None and known[1].positions.length > LONG
        snapshot = self._within(FRESH_S * 0.9 if is_long else 0.0) if run.status is Status.QUEUED else None
        return queries.wait_reason(self._services, run, snapshot)

    def _within(self, seconds: float) -> QueueSnapshot:
        """Return how the queue stood at most so long ago. One thread looks, the others wait for what it finds."""
        if seconds == 0.0:
            return self._looked()
        with self._one_at_a_time:
            known = self._snapshot
            return known[1] if known is not None and time.monotonic() < known[0] + seconds else self._looked()

    def _looked(self) -> QueueSnapshot:
        # A snapshot costs a look at the whole queue, a place in it next to nothing.
        self._snapshot = time.monotonic(), queries.queue_snapshot(self._services)
        return self._snapshot[1]
