"""End a run that nobody supervises because it never left the queue. A supervised run is ended by its supervisor alone."""

from __future__ import annotations

import logging

from app.domain.errors import LiveUnavailable
from app.domain.events import Entry, Kind, encode, end_fields
from app.domain.lifecycle import Step, transition
from app.domain.run import Outcome, Progress, Run
from app.service.services import Services
from app.store.chunks import Chunk

logger = logging.getLogger(__name__)


def finish_queued(services: Services, run: Run, outcome: Outcome) -> Run:
    """Write the outcome and the log's only event, the end, in one transaction. Raises: Fenced when it left the queue."""
    now = services.runs.now()
    after = transition(run, Step.END, now, outcome=outcome)
    end = Entry(1, encode(1, 1, now, Kind.END, end_fields(outcome, 0, 0)))
    services.runs.finish(run, after, Chunk.pack([end], 1, 0, 0, 0), Progress(1, 1, 0, 0))
    _announce(services, run.id, end)
    return after


def _announce(services: Services, run_id: str, end: Entry) -> None:
    """Tell watchers now; without this they find it in SQL at their next check. No writer can ever be in the way: token 0."""
    try:
        services.log.open(run_id, 0, 1, 0)
        services.log.append(run_id, 0, 1, [end])
    except LiveUnavailable as error:
        logger.info("run %s: its end is not announced: %s", run_id, error)
