"""Hand queued runs out to workers: the one way in which a run leaves the queue to be started.

Runs anywhere, any number of times: the store moves a run from `queued` to `starting` exactly once, and what was not told to the
workers after that (a crash, Redis down) is told again by the reconciler.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from app.domain.errors import LiveUnavailable
from app.domain.metrics import DISPATCH_TIME, PUBLISH_FAILURES
from app.domain.runs.images import ImageRules
from app.domain.runs.run import Run
from app.service.services import Services

logger = logging.getLogger(__name__)

BATCH = 100
# Characters of a name that observers see.
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Dispatched:
    """How many runs left the queue, and whether the workers heard of all of them."""

    count: int
    announced: bool


def dispatch(services: Services) -> Dispatched:
    """Start as many queued runs as there are places for, best first. Raises: StoreUnavailable."""
    count, announced = 0, True
    while count < BATCH and (run := _next(services)):
        count += 1
        services.tracer.past("queued", run, run.queued_at, run.dispatched_at or run.queued_at)
        announced = hand_out(services, run) and announced
        if not announced:
            break
    if count:
        services.nudges.send("*", "queue")
    return Dispatched(count, announced)


def _next(services: Services) -> Run | None:
    began = time.perf_counter()
    run = services.store.queue.dispatch_next(services.limits)
    if run is not None:
        services.store.counters.note(DISPATCH_TIME.observe(time.perf_counter() - began))
    return run


def hand_out(services: Services, run: Run) -> bool:
    """Tell the workers of a run that waits for a supervisor; False when they cannot be told now."""
    try:
        with services.tracer.part("dispatch", run) as part:
            services.publisher.publish(run.id, run.priority.celery, shown(run, services.spec_limits.images), part.context)
    except LiveUnavailable as error:
        services.store.counters.note(PUBLISH_FAILURES.count())
        logger.warning("run %s: workers not told yet: %s", run.id, error)
        return False
    return True


def wake(services: Services, run_id: str, what: str) -> None:
    """Have somebody look at the run because of news: the supervisor that it has, or a new one when it is parked."""
    services.nudges.send(run_id, what)
    if services.store.leases.unpark(run_id) and (run := services.store.runs.get(run_id)):
        hand_out(services, run)


def shown(run: Run, images: ImageRules | None) -> str:
    """Return what an observer of the broker sees of a run, as keyword arguments look: nothing of its code or environment.

    `repr` escapes what could pass for another field or confuse a page or terminal: owners and images are named by people.
    """
    spec = run.spec
    image = images.choose(spec.image, spec.language) if images else spec.image or spec.language or "command"
    # What nobody can choose the length of comes first: pages cut such texts.
    return repr({"priority": str(run.priority), "owner": run.owner_name[:SHOWN], "image": image[:SHOWN]})
