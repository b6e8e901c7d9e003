"""One claim on a run while it lasts: the fence, the waits, the database's clock, and what needs the database done until it is.

What the claim is used for is not known here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from app.domain.errors import Conflict, Fenced, StoreUnavailable
from app.domain.runs.run import Run
from app.supervise.log.run_log import RunLog
from app.supervise.worker.worker_context import WorkerContext

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 0.5


class Drained(Exception):
    """This process shuts down: the run was released and goes on; another process takes it over."""


class LeaseScope:
    """The right to act for one run, and its log. One thread acts; any thread may set `woken`."""

    def __init__(self, context: WorkerContext, run: Run, log: RunLog) -> None:
        """Act for the run as it was claimed: with the token that it has now."""
        self.context, self.log = context, log
        self.run_id, self.token = run.id, run.token
        self.woken = threading.Event()

    def check(self) -> None:
        """Return while there is reason to go on. Raises: Fenced, Drained."""
        if not self._held():
            raise Fenced()
        if self.context.halt.is_set():
            self._release()
            raise Drained

    def pause(self, seconds: float) -> None:
        """Wait, at most until somebody wakes."""
        self.woken.wait(seconds)

    def now(self) -> float:
        """Return the database's time. Raises: Fenced."""
        return self.call_store(self.context.clock.now)

    def call_store(self, work: Callable[[], T]) -> T:
        """Do work that needs the database, again while it is away. Raises: Fenced once the lease may have run out."""
        while True:
            try:
                return work()
            except StoreUnavailable as error:
                logger.warning("run %s: %s", self.run_id, error)
                time.sleep(RETRY_S)
                if not self._held():
                    raise Fenced() from error
            except Conflict as error:
                # The row is not what this supervisor believes: it was overtaken or an earlier try of this very write succeeded.
                raise Fenced() from error

    def _held(self) -> bool:
        return self.context.leases.held(self.run_id, self.token)

    def _release(self) -> None:
        try:
            while self.log.publish() and self.log.archive():
                pass
            self.context.store.leases.release(self.run_id, self.token)
        except StoreUnavailable as error:
            logger.warning("run %s: not released, its lease runs out instead: %s", self.run_id, error)
