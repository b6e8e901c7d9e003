"""Cancel a run: at once while it is queued, else by asking its supervisor to stop it."""

from __future__ import annotations

from app.domain.errors import Fenced
from app.domain.person import Person, visible
from app.domain.runs.lifecycle import cancellation
from app.domain.runs.run import Run, Status
from app.service.queue.dispatch import dispatch, wake
from app.service.runs.finish import finish_queued
from app.service.services import Services


def cancel(services: Services, person: Person, run_id: str) -> Run:
    """Ask for the run's end; asking again changes nothing. Returns the run as it is now.

    Raises: NotFound, StoreUnavailable.
    """
    run = visible(person, services.store.runs.get(run_id))
    if run.status.final:
        return run
    run = services.store.runs.request_cancel(run_id, person)
    if run.status is Status.QUEUED and (ended := _cancel_queued(services, run)):
        return ended
    wake(services, run_id, "cancel")
    return services.store.runs.get(run_id) or run


def _cancel_queued(services: Services, run: Run) -> Run | None:
    try:
        ended = finish_queued(services, run, cancellation(run))
    except Fenced:
        # It left the queue meanwhile; its supervisor sees the request.
        return None
    dispatch(services)
    return ended
