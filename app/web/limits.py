"""Limits and shares over HTTP, for admins."""

from __future__ import annotations

from flask import Blueprint, Response

from app.service import limits
from app.web import reading
from app.web.auth import current_person
from app.web.context import context
from app.web.queue_resources import scope_page
from app.web.rendering import answer
from app.web.schemas import NoQuery, ScopeQuery, ScopeRequest

bp = Blueprint("limits", __name__)


@bp.get("/v1/admin/limits")
def show_limits() -> Response:
    """List what is set."""
    reading.query(NoQuery)
    return answer(scope_page(limits.list_limits(context().services, current_person())))


@bp.put("/v1/admin/limits")
def put_limits() -> Response:
    """Set all limits of one scope."""
    services, person = context().services, current_person()
    asked = reading.parse(ScopeRequest, reading.json_body())
    limits.set_limits(services, person, asked.scope, asked.limits())
    return answer(scope_page(limits.list_limits(services, person)))


@bp.delete("/v1/admin/limits")
def delete_limits() -> Response:
    """Give one scope its defaults back."""
    services, person = context().services, current_person()
    limits.clear_limits(services, person, reading.query(ScopeQuery).scope)
    return answer(scope_page(limits.list_limits(services, person)))
