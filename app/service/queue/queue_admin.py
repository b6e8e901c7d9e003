"""Steer the queue: priorities, the front, pause and close, and the record of who did what."""

from __future__ import annotations

import logging

from app.domain.audit import Change
from app.domain.errors import Forbidden
from app.domain.person import Person, visible
from app.domain.queue.admission import Counts
from app.domain.runs.run import Priority, Run
from app.service.queue.dispatch import dispatch
from app.service.services import Services

logger = logging.getLogger(__name__)


def check_priority(services: Services, person: Person, wanted: Priority, has: Priority | None = None) -> None:
    """Let a person use a priority: an admin any; others up to the configured one, and down always. Raises: Forbidden."""
    highest = services.highest_priority
    if person.is_admin or wanted.order >= (highest.order if has is None else min(highest.order, has.order)):
        return
    raise Forbidden(f"Only an admin may use the priority {wanted}; yours goes up to {highest}.", field="priority")


def set_priority(services: Services, person: Person, run_id: str, priority: Priority) -> Run:
    """Give the queued run another priority; its submission order within it stays.

    Raises: NotFound, Forbidden, Conflict, RunEnded.
    """
    run = visible(person, services.store.runs.get(run_id))
    check_priority(services, person, priority, run.priority)
    return _changed(services, services.store.queue_admin.set_priority(run_id, priority, person))


def move_to_front(services: Services, person: Person, run_id: str) -> Run:
    """Place the queued run before all others; limits still hold. For admins. Raises: Forbidden, NotFound, Conflict, RunEnded."""
    require_admin(person)
    return _changed(services, services.store.queue_admin.move_to_front(run_id, person))


def set_gates(services: Services, person: Person, *, paused: bool | None = None, closed: bool | None = None) -> Counts:
    """Pause the queue (nothing starts) or close it (nothing is taken in, what is there still runs), or end that. For admins.

    Raises: Forbidden.
    """
    require_admin(person)
    now = services.store.queue_admin.set_gates(person, paused=paused, closed=closed)
    logger.info("the queue is %s and %s now", "paused" if now.paused else "running", "closed" if now.closed else "open")
    services.nudges.send("*", "queue")
    if not now.paused:
        dispatch(services)
    return now


def changes(services: Services, person: Person, subject: str | None, before: int | None, limit: int) -> list[Change]:
    """Return who steered what, newest first. For admins; others see what was done to a run of theirs.

    Raises: Forbidden, NotFound.
    """
    if not person.is_admin:
        if subject is None:
            require_admin(person)
        visible(person, services.store.runs.get(subject or ""))
    return services.store.audit.changes(subject=subject, before=before, limit=limit)


def require_admin(person: Person) -> None:
    """Let admins pass. Raises: Forbidden."""
    if not person.is_admin:
        raise Forbidden("Only an admin may do this.")


def _changed(services: Services, run: Run) -> Run:
    services.nudges.send("*", "queue")
    return run
