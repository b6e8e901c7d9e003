"""What the supervisors of one worker process share, in one frozen value."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.ports import EventLog, Launcher, Uses
from app.domain.runs.retry import Retries
from app.domain.tracing import NoTracer, Tracer
from app.forms.checker import FormChecker
from app.store.store import Store
from app.supervise.artefact_storage import ArtefactStorage
from app.supervise.log.archiver import Archiver
from app.supervise.worker.leases import Leases
from app.supervise.worker.wakeups import Wakeups


class DatabaseClock:
    """The database's clock, read now and then and carried on by the monotonic clock in between. Seconds since the epoch."""

    def __init__(self, read: Callable[[], float], every_s: float = 10.0) -> None:
        """`read` asks the database; it is asked again after `every_s`."""
        self._read, self._every_s = read, every_s
        self._lead = 0.0
        self._due = 0.0

    def now(self) -> float:
        """Return the database's time. Raises: StoreUnavailable, only when it was never read."""
        ticks = time.monotonic()
        if ticks >= self._due:
            self._lead = self._read() - ticks
            self._due = ticks + self._every_s
        return ticks + self._lead


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The collaborators of every supervisor in this process. `on_release` is called when a place has become free.

    What is left of a failed attempt is kept for `keep_failed_s`, by the reconciler. Without an
    `artefact_storage` no artefacts are kept.
    """

    process_id: str
    lease_s: float
    max_questions: int
    store: Store
    log: EventLog
    uses: Uses
    launcher: Launcher
    leases: Leases
    archiver: Archiver
    wakeups: Wakeups
    clock: DatabaseClock
    on_release: Callable[[], None]
    retries: Retries = field(default_factory=Retries)
    launch_within_s: float = 120.0
    keep_failed_s: float = 0.0
    tracer: Tracer = field(default_factory=NoTracer)
    artefact_storage: ArtefactStorage | None = None
    forms: FormChecker = field(default_factory=FormChecker)
    halt: threading.Event = field(default_factory=threading.Event)
