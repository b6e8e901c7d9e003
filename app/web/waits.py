"""Why runs have not started yet, looked up at most once a second for each run, however many sockets ask. A pure cache."""

from __future__ import annotations

import threading
import time
from typing import TypeAlias

from app.domain.run import Run, Status
from app.service import look
from app.service.look import Moment, Wait
from app.service.services import Services

Standing: TypeAlias = tuple[bool, Wait | None]
NOT_STARTED = (Status.QUEUED, Status.STARTING)
FRESH_S = 1.0
MAX_KEPT = 10_000


class Waits:
    """What runs wait for, each at most `FRESH_S` seconds old. Thread-safe."""

    def __init__(self, services: Services) -> None:
        """Nothing is known."""
        self._services = services
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Standing]] = {}
        self._moment: tuple[float, Moment] | None = None

    def of(self, run_id: str) -> Standing:
        """Return whether the run has yet to start, and what it waits for. Raises: StoreUnavailable."""
        now = time.monotonic()
        with self._lock:
            known = self._known.get(run_id)
            if known and known[0] > now:
                return known[1]
            if len(self._known) >= MAX_KEPT:
                self._known.clear()
        run: Run | None = self._services.runs.get(run_id)
        standing: Standing = (False, None)
        if run is not None and run.status in NOT_STARTED:
            moment = self._fresh(now) if run.status is Status.QUEUED else None
            standing = (True, look.wait_of(self._services, run, moment))
        with self._lock:
            self._known[run_id] = (now + FRESH_S * 0.9, standing)
        return standing

    def _fresh(self, now: float) -> Moment:
        # A moment costs a look at the whole queue, a place in it next to nothing.
        known = self._moment
        if known is None or known[0] <= now:
            self._moment = known = (now + FRESH_S * 0.9, look.moment(self._services))
        return known[1]
