"""End a run that nobody supervises because it never left the queue. A supervised run is ended by its supervisor alone."""

from __future__ import annotations

from app.domain.events import Entry, Kind, encode, end_fields
from app.domain.lifecycle import Step, transition
from app.domain.run import Outcome, Progress, Run
from app.service.services import Services
from app.store.chunks import Chunk


def finish_queued(services: Services, run: Run, outcome: Outcome) -> Run:
    """Write the outcome and the log's only event, the end, in one transaction. Raises: Fenced when it left the queue."""
    now = services.runs.now()
    after = transition(run, Step.END, now, outcome=outcome)
    end = Entry(1, encode(1, 1, now, Kind.END, end_fields(outcome, 0, 0)))
    services.runs.finish(run, after, Chunk.pack([end], 1, 0, 0, 0), Progress(1, 1, 0, 0))
    services.nudges.send(run.id, "end")
    return after
