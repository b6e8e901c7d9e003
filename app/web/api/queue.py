"""The queue over HTTP: its order for everybody, and pausing or closing it as a whole for admins."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from app.domain.queue.admission import Counts
from app.service import queries
from app.service.queries import QueueItem
from app.service.queue import queue_admin
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.runs.resources import RunSummary, run_summary
from app.web.api.shapes import NoQuery, Shape
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("queue", __name__)
SMALL_BYTES = 64 * 1024


class QueueQuery(Shape):
    """How much of the queue to list."""

    limit: int = Field(100, ge=1, le=1000, strict=False)


class GatesRequest(Shape):
    """What to change about the queue as a whole; what is not named stays."""

    paused: bool | None = Field(None, description="true: nothing is started")
    closed: bool | None = Field(None, description="true: nothing is taken in; what is queued still starts")


class QueuedRun(BaseModel):
    """A queued run and its place: 1 starts next."""

    position: int
    run: RunSummary


class QueuePage(BaseModel):
    """The queue, in the order in which runs start."""

    items: list[QueuedRun]


class GatesResource(BaseModel):
    """The queue as a whole: `paused` = nothing is started, `closed` = nothing is taken in, and how many runs there are."""

    paused: bool
    closed: bool
    queued: int
    active: int
    waiting: int


@bp.get("/v1/queue")
def show_queue() -> Response:
    """List the queue."""
    query = parsing.query(QueueQuery)
    return answer(queue_page(queries.queue(context().services, current_person(), query.limit)))


@bp.get("/v1/admin/queue")
def show_gates() -> Response:
    """Show the queue as a whole."""
    parsing.query(NoQuery)
    queue_admin.require_admin(current_person())
    return answer(gates_resource(context().services.store.queue_admin.gates()))


@bp.patch("/v1/admin/queue")
def change_gates() -> Response:
    """Pause or close the queue, or end that."""
    person = current_person()
    asked = parsing.parse(GatesRequest, parsing.json_body(SMALL_BYTES))
    return answer(gates_resource(queue_admin.set_gates(context().services, person, paused=asked.paused, closed=asked.closed)))


def queue_page(items: Sequence[QueueItem]) -> QueuePage:
    """Return the queue."""
    return QueuePage(items=[QueuedRun(position=item.position, run=run_summary(item.run)) for item in items])


def gates_resource(everyone: Counts) -> GatesResource:
    """Return the queue as a whole."""
    counts = {"queued": everyone.queued, "active": everyone.active, "waiting": everyone.waiting}
    return GatesResource(paused=everyone.paused, closed=everyone.closed, **counts)
