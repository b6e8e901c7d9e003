"""Steering over HTTP: the queue as a whole, and the record of who changed what. Mostly for admins."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for

from app.service.queue import queue_admin
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.queue_shapes import ChangePage, change_resource, gates_resource
from app.web.api.schemas import AuditQuery, GatesRequest, NoQuery
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("steering", __name__)
SMALL_BYTES = 64 * 1024


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


@bp.get("/v1/audit")
def list_changes() -> Response:
    """List who steered what."""
    query = parsing.query(AuditQuery)
    found = queue_admin.changes(context().services, current_person(), query.subject, query.before, query.limit + 1)
    page = found[: query.limit]
    older = _next(page[-1].number) if len(found) > query.limit else None
    return answer(ChangePage(items=[change_resource(change) for change in page], next=older))


def _next(before: int) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "before"]
    return url_for("steering.list_changes") + "?" + urlencode([*query, ("before", before)])
