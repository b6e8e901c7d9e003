"""The Celery application of a worker process, and what runs beside its tasks: leases, archiver, nudges, ticks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from celery import signals

from app.domain.metrics import DRAINING, PROCESSES, SLOTS, SUPERVISED
from app.service.periodic import keep_ticking
from app.service.services import Services
from app.supervise.worker.worker_context import WorkerContext
from app.wiring import build_services, build_worker_context, report_access, report_storage
from config.celery import make_celery
from config.logging import set_up_logging
from config.settings import Settings
from tasks.consumer import AliveFile, consumer_of, drain_step
from tasks.events import WorkerEvents

logger = logging.getLogger(__name__)
settings = Settings.from_env()
# Celery warns of some things before it sends `setup_logging`.
set_up_logging(settings)
app = make_celery(settings)
app.events_cls = WorkerEvents
app.conf.update(imports=("tasks.runs",), worker_consumer=consumer_of(AliveFile(settings.alive_file)))


class Worker:
    """What this worker process consists of besides Celery: made once when it starts, and stopped in reverse order."""

    def __init__(self, services: Services, context: WorkerContext) -> None:
        """Prepare; `start` sets the loops going."""
        self.services, self.context = services, context
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start every background loop."""
        self._loop("leases", lambda: self.context.leases.keep(self._stop))
        self._loop("archiver", lambda: self.context.archiver.work(self._stop))
        self._loop("nudges", lambda: self.services.nudges.listen(self.context.wakeups.on_nudge, self._stop.is_set))
        self._loop("counts", lambda: self.services.store.counters.keep(self._gauges, self._stop))
        self._loop("ticks", lambda: keep_ticking(self.services, self._stop))

    def _loop(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _gauges(self) -> dict[str, float]:
        """Return what this process says of itself, for `/metrics`."""
        return {
            PROCESSES.key("worker"): 1,
            DRAINING.key("worker"): int(self.context.halt.is_set()),
            SLOTS.key(): settings.worker_concurrency,
            SUPERVISED.key(): self.context.leases.count,
        }

    def drain(self) -> None:
        """Have every supervisor release its run and leave. Idempotent; returns at once."""
        self.context.halt.set()
        self.context.wakeups.on_nudge("*", "halt")

    def stop(self) -> None:
        """Stop the loops, after the supervisors have left."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2)


_worker: list[Worker] = []


def worker() -> Worker:
    """Return this process's worker; it exists once `worker_init` was sent."""
    return _worker[0]


@signals.setup_logging.connect
def _logging(**_: object) -> None:
    set_up_logging(settings)


@signals.worker_init.connect
def _init(**_: object) -> None:
    try:
        services = build_services(settings)
        _worker.append(Worker(services, build_worker_context(services, settings.worker_concurrency)))
        worker().start()
        threading.Thread(target=report_access, args=(settings,), name="access", daemon=True).start()
        threading.Thread(target=report_storage, args=(services,), name="storage", daemon=True).start()
    except Exception as error:
        # Celery would log it and go on: a worker that takes messages and can do nothing with them.
        logger.critical("the worker cannot start", exc_info=error)
        raise SystemExit(1) from error


@signals.worker_shutting_down.connect
def _shutting_down(**_: object) -> None:
    if _worker:
        worker().drain()


app.steps["worker"].add(drain_step(_shutting_down))


@signals.worker_shutdown.connect
def _shutdown(**_: object) -> None:
    if _worker:
        worker().stop()
