"""The queue, who is asking, and what a run may ask for."""

from __future__ import annotations

from flask import Blueprint, Response

from app.service import look
from app.web import reading
from app.web.auth import current_person
from app.web.context import context
from app.web.queue_resources import queue_page
from app.web.rendering import answer
from app.web.resources import limits_resource, person_resource
from app.web.schemas import NoQuery, QueueQuery

bp = Blueprint("queue", __name__)


@bp.get("/v1/queue")
def show_queue() -> Response:
    """List the queue."""
    query = reading.query(QueueQuery)
    return answer(queue_page(look.queue(context().services, current_person(), query.limit)))


@bp.get("/v1/me")
def show_me() -> Response:
    """Show who I am."""
    reading.query(NoQuery)
    return answer(person_resource(current_person()))


@bp.get("/v1/limits")
def show_limits() -> Response:
    """Show what a run may ask for."""
    reading.query(NoQuery)
    current_person()
    return answer(limits_resource(context().services.spec_limits))
