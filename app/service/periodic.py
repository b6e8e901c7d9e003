"""The periodic work of every worker process, each kind done by one process at a time under a short lease in SQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import PodwireError
from app.domain.metrics import TICK_FAILURES
from app.service import artefacts, reconcile, retention
from app.service.queue.dispatch import dispatch
from app.service.services import Services

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """One kind of periodic work and how often it is due, in ticks."""

    name: str
    work: Callable[[Services], object]
    every: int = 1


TICKS = (
    Tick("dispatch", dispatch),
    Tick("redispatch", reconcile.redispatch),
    Tick("expire-runs", reconcile.expire_runs),
    Tick("announce-ends", reconcile.announce_ends),
    Tick("expire-questions", reconcile.expire_questions, every=0),
    Tick("remove-orphans", reconcile.remove_orphans, every=15),
    Tick("repair-queue", reconcile.repair_queue, every=15),
    Tick("remove-artefacts", artefacts.remove_expired, every=15),
    Tick("find-lost-artefacts", artefacts.find_unknown, every=21_600),
    Tick("remove-runs", retention.remove_expired, every=15),
)


def run_tick(services: Services, tick: Tick) -> bool:
    """Do the work if it is due and no other process does it. Logs and survives every error; False when it failed."""
    try:
        if services.store.ticks.acquire(tick.name, services.process_id, max(tick.every * services.tick_s, 0.5) * 0.9):
            tick.work(services)
    except PodwireError as error:
        logger.warning("tick %s: %s", tick.name, error)
        services.store.counters.note(TICK_FAILURES.count(tick.name))
        return False
    except Exception:  # a process loop: whatever it is, the next tick must come
        logger.exception("tick %s failed", tick.name)
        services.store.counters.note(TICK_FAILURES.count(tick.name))
        return False
    return True


def keep_ticking(services: Services, stop: threading.Event) -> None:
    """Tick until `stop`: the work due each round, every half second or tick, whichever is shorter."""
    while not stop.wait(min(0.5, services.tick_s)):
        for tick in TICKS:
            run_tick(services, tick)
