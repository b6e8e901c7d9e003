"""End a run that nobody supervises because it is in the queue. A supervised run is ended by its supervisor alone."""

from __future__ import annotations

import logging

from app.domain.errors import LiveUnavailable
from app.domain.runs.events import Entry, Kind, encode, end_fields
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Progress, Run
from app.service.services import Services
from app.store.log.chunks import Chunk

logger = logging.getLogger(__name__)


def finish_queued(services: Services, run: Run, outcome: Outcome) -> Run:
    """Write the outcome and the end event in one transaction. Raises: Fenced when it left the queue."""
    now, log = services.store.clock.now(), run.archived
    after = transition(run, Step.END, now, outcome=outcome)
    seq = log.seq + 1
    end = Entry(seq, encode(log.epoch, seq, now, Kind.END, end_fields(outcome, log.offset, 0)))
    chunk = Chunk.pack([end], log.epoch, log.offset, log.offset, log.spool)
    services.store.runs.finish(run, after, chunk, Progress(log.epoch, seq, log.offset, log.spool))
    announce_end(services, run.id, run.token, log.epoch, end)
    return after


def announce_end(services: Services, run_id: str, token: int, epoch: int, end: Entry) -> None:
    """Tell watchers of an end that SQL holds; without this they find it at their next look into SQL. Doing so again is harmless.

    No writer is in the way: the run's token, which is 0 before the first attempt, is not lower than that of any former one.
    """
    try:
        services.log.open(run_id, token, epoch, end.seq - 1)
        services.log.append(run_id, token, epoch, [end])
    except LiveUnavailable as error:
        logger.info("run %s: its end is not announced: %s", run_id, error)
