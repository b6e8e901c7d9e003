"""What the API shows of the queue as a whole: its order, its limits, its gates, and who steered it. Runs are in resources.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from pydantic import BaseModel

from app.domain.audit import Change
from app.domain.queue.admission import Tally
from app.domain.queue.limits import Limited
from app.service.queries import QueueItem
from app.web.api.resources import RunSummary, Time, run_summary


class QueuedRun(BaseModel):
    """A queued run and its place: 1 starts next."""

    position: int
    run: RunSummary


class QueuePage(BaseModel):
    """The queue, in the order in which runs start."""

    items: list[QueuedRun]


class ScopeCounts(BaseModel):
    """The runs of a scope that have not ended. `owner:*` and `group:*` count nothing."""

    queued: int
    active: int
    waiting: int


class ScopeResource(BaseModel):
    """Whom limits are for, and what is set; null is the default."""

    scope: str
    pending: int | None
    active: int | None
    queue_length: int | None
    weight: int | None
    group: str | None
    counts: ScopeCounts


class ScopePage(BaseModel):
    """Every scope that has something set."""

    items: list[ScopeResource]


class GatesResource(BaseModel):
    """The queue as a whole: `paused` = nothing is started, `closed` = nothing is taken in, and how many runs there are."""

    paused: bool
    closed: bool
    queued: int
    active: int
    waiting: int


class ChangeResource(BaseModel):
    """Who steered what: `subject` is a run's id or the scope of a limit."""

    at: Time
    by: str
    action: str
    subject: str | None
    before: str | None
    after: str | None


class ChangePage(BaseModel):
    """Some changes, newest first; `next` is the address of the older ones."""

    items: list[ChangeResource]
    next: str | None


def queue_page(items: Sequence[QueueItem]) -> QueuePage:
    """Return the queue."""
    return QueuePage(items=[QueuedRun(position=item.position, run=run_summary(item.run)) for item in items])


def scope_page(items: Sequence[Limited]) -> ScopePage:
    """Return scopes with their limits."""
    return ScopePage(items=[_scope(item) for item in items])


def _scope(item: Limited) -> ScopeResource:
    counted = ScopeCounts(queued=item.tally.queued, active=item.tally.active, waiting=item.tally.waiting)
    return ScopeResource(scope=str(item.scope), counts=counted, **asdict(item.limits))


def gates_resource(everyone: Tally) -> GatesResource:
    """Return the queue as a whole."""
    counts = {"queued": everyone.queued, "active": everyone.active, "waiting": everyone.waiting}
    return GatesResource(paused=everyone.paused, closed=everyone.closed, **counts)


def change_resource(change: Change) -> ChangeResource:
    """Return who steered what."""
    known = {"subject": change.subject, "before": change.before, "after": change.after}
    return ChangeResource(at=change.at, by=change.by, action=change.action.value, **known)
