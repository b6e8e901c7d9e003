"""Limits and shares over HTTP, for admins."""

from __future__ import annotations

from flask import Blueprint, Response

from app.service.queue import limits
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.queue_shapes import scope_page
from app.web.api.schemas import NoQuery, ScopeQuery, ScopeRequest
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("limits", __name__)


@bp.get("/v1/admin/limits")
def show_limits() -> Response:
    """List what is set."""
    parsing.query(NoQuery)
    return answer(scope_page(limits.list_limits(context().services, current_person())))


@bp.put("/v1/admin/limits")
def put_limits() -> Response:
    """Set all limits of one scope."""
    services, person = context().services, current_person()
    asked = parsing.parse(ScopeRequest, parsing.json_body())
    limits.set_limits(services, person, asked.scope, asked.limits())
    return answer(scope_page(limits.list_limits(services, person)))


@bp.delete("/v1/admin/limits")
def delete_limits() -> Response:
    """Give one scope its defaults back."""
    services, person = context().services, current_person()
    limits.clear_limits(services, person, parsing.query(ScopeQuery).scope)
    return answer(scope_page(limits.list_limits(services, person)))
