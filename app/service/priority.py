"""Change a queued run's priority."""

from __future__ import annotations

from app.domain.person import Person, visible
from app.domain.run import Priority, Run
from app.service.services import Services


def set_priority(services: Services, person: Person, run_id: str, priority: Priority) -> Run:
    """Give the queued run another priority; its submission order within it stays. Raises: NotFound, Conflict, RunEnded."""
    visible(person, services.runs.get(run_id))
    run = services.runs.set_priority(run_id, priority)
    services.nudges.send("*", "queue")
    return run
