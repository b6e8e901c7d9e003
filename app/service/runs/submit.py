"""Take a run in: check it, store it as queued, and try to hand it out at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.domain.errors import InvalidInput, StoreUnavailable
from app.domain.ids import new_run_id
from app.domain.person import Person
from app.domain.runs.run import Priority, Run
from app.domain.runs.spec import RunSpec, check_spec
from app.service.queue.dispatch import dispatch
from app.service.queue.queue_admin import check_priority
from app.service.services import Services

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submitted:
    """An accepted run.

    `created` is False when the same Idempotency-Key had made it before; `delayed` when workers cannot be told yet.
    """

    run: Run
    created: bool
    delayed: bool


def submit(
    services: Services,
    person: Person,
    spec: RunSpec,
    priority: Priority,
    *,
    secrets: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    request_hash: str | None = None,
    traceparent: str | None = None,
) -> Submitted:
    """Accept the run: once this returns, it reaches exactly one final state, whatever happens to any process.

    `secrets` are the values of the names in `spec.secrets`. The run's trace continues `traceparent`, if there is one.
    Raises: InvalidInput, Forbidden, LimitReached, QueueFull, QueueClosed, IdempotencyMismatch, StoreUnavailable.
    """
    check_priority(services, person, priority)
    if errors := check_spec(spec, services.spec_limits, secrets):
        raise InvalidInput(errors)
    with services.tracer.submission(traceparent) as part:
        run, created, may_start = services.store.submissions.submit(
            new_run_id(),
            person,
            spec,
            priority,
            services.limits,
            secrets=secrets,
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            traceparent=part.context,
        )
        part.note(run_id=run.id, priority=run.priority.value, attempt=run.attempt)
    if not may_start:
        # Whoever frees a place hands it on: to look for one now would only cost the answer its time.
        return Submitted(run, created, delayed=False)
    return _handed_out(services, Submitted(run, created, delayed=True))


def _handed_out(services: Services, submitted: Submitted) -> Submitted:
    """Try to start what can start. The run is accepted, so a database that fails now changes nothing: a tick goes on."""
    try:
        dispatched = dispatch(services)
        run = (services.store.runs.get(submitted.run.id) if dispatched.count else None) or submitted.run
    except StoreUnavailable as error:
        logger.warning("run %s: accepted, but not handed out yet: %s", submitted.run.id, error)
        return submitted
    return replace(submitted, run=run, delayed=not dispatched.announced)
