"""The queue, who is asking, and what a run may ask for."""

from __future__ import annotations

from flask import Blueprint, Response

from app.service import queries
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.queue_shapes import queue_page
from app.web.api.resources import limits_resource, person_resource
from app.web.api.schemas import NoQuery, QueueQuery
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("queue", __name__)


@bp.get("/v1/queue")
def show_queue() -> Response:
    """List the queue."""
    query = parsing.query(QueueQuery)
    return answer(queue_page(queries.queue(context().services, current_person(), query.limit)))


@bp.get("/v1/me")
def show_me() -> Response:
    """Show who I am."""
    parsing.query(NoQuery)
    return answer(person_resource(current_person()))


@bp.get("/v1/limits")
def show_limits() -> Response:
    """Show what a run may ask for."""
    parsing.query(NoQuery)
    current_person()
    return answer(limits_resource(context().services.spec_limits))
