"""Take a run in: check it, store it as queued, and try to hand it out at once."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.errors import InvalidInput
from app.domain.ids import new_run_id
from app.domain.person import Person
from app.domain.run import Priority, Run
from app.domain.spec import RunSpec, check_spec
from app.service.dispatch import dispatch
from app.service.services import Services


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
    idempotency_key: str | None = None,
    request_hash: str | None = None,
) -> Submitted:
    """Accept the run: once this returns, it reaches exactly one final state, whatever happens to any process.

    Raises: InvalidInput, LimitReached, QueueFull, IdempotencyMismatch, StoreUnavailable.
    """
    if errors := check_spec(spec, services.spec_limits):
        raise InvalidInput(errors)
    run, created = services.runs.submit(
        new_run_id(),
        person,
        spec,
        priority,
        services.limits,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
    )
    dispatched = dispatch(services)
    if dispatched.count:
        run = services.runs.get(run.id) or run
    return Submitted(run, created, not dispatched.told)
