"""The leases that this process holds: renewed together, one statement for all; known to be lost before anybody else can
take them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.domain.errors import PodwireError
from app.store.runs.leases import RunLeases

logger = logging.getLogger(__name__)


class Leases:
    """Which (run, token) this process may still act for. Thread-safe; one thread calls `keep`."""

    def __init__(
        self,
        store: RunLeases,
        process_id: str,
        lease_s: float,
        renew_s: float,
        slots: int = 64,
        clock: Callable[[], float] = time.monotonic,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """Trust a lease for `lease_s` less one renewal after its last renewal, by this process's monotonic clock.

        `slots` is how many runs this process can supervise at once; `on_failure` is called for each renewal that failed.
        """
        self._store, self._process_id, self._clock = store, process_id, clock
        self._lease_s, self._renew_s = lease_s, renew_s
        self._lock = threading.Lock()
        self._slots = slots
        self._renewed: dict[tuple[str, int], float] = {}
        self._leaving: set[tuple[str, int]] = set()
        self._strays: set[tuple[str, int]] = set()
        self._on_failure = on_failure

    @contextmanager
    def hold(self, run_id: str, token: int, claimed_at: float) -> Iterator[None]:
        """Renew the lease while inside. `claimed_at` is the monotonic time just before the claim."""
        with self._lock:
            self._renewed[run_id, token] = claimed_at
        try:
            yield
        finally:
            with self._lock:
                self._renewed.pop((run_id, token), None)
                self._leaving.discard((run_id, token))

    @property
    def count(self) -> int:
        """How many runs this process supervises."""
        return len(self._renewed)

    def makes_room(self, run_id: str, token: int) -> bool:
        """Say whether this run should leave because every slot is taken, counting those that are leaving already."""
        with self._lock:
            if len(self._renewed) - len(self._leaving) < self._slots:
                return False
            self._leaving.add((run_id, token))
            return True

    def stays(self, run_id: str, token: int) -> None:
        """Take back that the run makes room."""
        with self._lock:
            self._leaving.discard((run_id, token))

    def held(self, run_id: str, token: int) -> bool:
        """Say whether the lease is certainly still ours: False some seconds before another process could claim it."""
        with self._lock:
            renewed = self._renewed.get((run_id, token))
        return renewed is not None and self._clock() < renewed + self._lease_s - self._renew_s

    def renew(self) -> None:
        """Renew all; those that SQL no longer knows as ours are lost. Raises: StoreUnavailable."""
        began = self._clock()
        with self._lock:
            wanted = set(self._renewed)
        still = self._store.renew(self._process_id, self._lease_s)
        with self._lock:
            for key in wanted & still:
                if key in self._renewed:
                    self._renewed[key] = began
            for key in wanted - still:
                self._renewed.pop(key, None)
            strays = still - set(self._renewed)
        self._let_go(strays)

    def _let_go(self, strays: set[tuple[str, int]]) -> None:
        """Release what SQL holds as ours and nobody here follows: a fault left it. Seen twice: it is not just being claimed."""
        for run_id, token in strays & self._strays:
            self._store.release(run_id, token)
        self._strays = strays

    def keep(self, stop: threading.Event) -> None:
        """Renew every few seconds until `stop`. Logs, counts and survives a database that cannot be reached."""
        while not stop.wait(self._renew_s):
            try:
                self.renew()
            except PodwireError as error:
                self._on_failure()
                logger.warning("leases not renewed: %s", error)
