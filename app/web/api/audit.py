"""The record of who steered what over HTTP: all of it for admins, that of their own runs for everybody."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for
from pydantic import BaseModel, Field

from app.domain.audit import Change
from app.domain.bounded_json import MAX_INTEGER
from app.service.queue import queue_admin
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.shapes import Shape, Time
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("audit", __name__)


class AuditQuery(Shape):
    """Which changes to list."""

    subject: str | None = Field(None, max_length=400, description="a run's id or the scope of a limit")
    limit: int = Field(50, ge=1, le=200, strict=False)
    before: int | None = Field(None, ge=1, le=MAX_INTEGER, strict=False, description="where the list goes on, from `next`")


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


@bp.get("/v1/audit")
def list_changes() -> Response:
    """List who steered what."""
    query = parsing.query(AuditQuery)
    found = queue_admin.changes(context().services, current_person(), query.subject, query.before, query.limit + 1)
    page = found[: query.limit]
    older = _next(page[-1].number) if len(found) > query.limit else None
    return answer(ChangePage(items=[change_resource(change) for change in page], next=older))


def change_resource(change: Change) -> ChangeResource:
    """Return who steered what."""
    known = {"subject": change.subject, "before": change.before, "after": change.after}
    return ChangeResource(at=change.at, by=change.by, action=change.action.value, **known)


def _next(before: int) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "before"]
    return url_for("audit.list_changes") + "?" + urlencode([*query, ("before", before)])
