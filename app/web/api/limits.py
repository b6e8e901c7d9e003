"""What a run may ask for, for everybody; limits and shares of people, groups and labels, for admins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from app.domain.queue.fairshare import MAX_WEIGHT
from app.domain.queue.limits import MAX_LIMIT, Limited, ScopeLimits
from app.domain.runs.images import ImageRules
from app.domain.runs.spec import SpecLimits
from app.service.queue import limits
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.shapes import NoQuery, Shape
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("limits", __name__)


class ScopeQuery(Shape):
    """Whose limits."""

    scope: str = Field(max_length=400, description="all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE")


class ScopeRequest(Shape):
    """All limits of a scope; what is absent or null gets its default."""

    scope: str = Field(max_length=400, description="all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE")
    pending: int | None = Field(None, ge=0, le=MAX_LIMIT, description="runs that are queued, active or waiting")
    active: int | None = Field(None, ge=0, le=MAX_LIMIT, description="runs that are active at once")
    queue_length: int | None = Field(None, ge=0, le=MAX_LIMIT, description="of all: runs in the queue")
    weight: int | None = Field(None, ge=1, le=MAX_WEIGHT, description="the share among other owners or groups")
    group: str | None = Field(None, max_length=64, description="of an owner: the group in which the owner's runs count")

    def limits(self) -> ScopeLimits:
        """Return the limits."""
        return ScopeLimits(self.pending, self.active, self.queue_length, self.weight, self.group)


class ImagesResource(BaseModel):
    """Which images runs may have: patterns (* and ?) of those that they may name, and those that they get without naming one."""

    allowed: list[str]
    by_language: dict[str, str]
    default: str | None


class LimitsResource(BaseModel):
    """What a run may ask for here: sizes in bytes, times in seconds. `images` is null where runs have no image."""

    languages: list[str]
    images: ImagesResource | None
    cpu: float
    memory: int
    disk: int
    timeout: float
    output_limit: int


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


@bp.get("/v1/limits")
def show_limits() -> Response:
    """Show what a run may ask for."""
    parsing.query(NoQuery)
    current_person()
    return answer(limits_resource(context().services.spec_limits))


@bp.get("/v1/admin/limits")
def show_set_limits() -> Response:
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


def limits_resource(limits: SpecLimits) -> LimitsResource:
    """Return what a run may ask for."""
    return LimitsResource(
        languages=list(limits.languages),
        images=_images(limits.images) if limits.images else None,
        cpu=limits.max_cpu,
        memory=limits.max_memory_bytes,
        disk=limits.max_disk_bytes,
        timeout=limits.max_timeout_s,
        output_limit=limits.max_output_bytes,
    )


def _images(rules: ImageRules) -> ImagesResource:
    return ImagesResource(allowed=list(rules.offer), by_language=dict(rules.by_language), default=rules.default or None)


def scope_page(items: Sequence[Limited]) -> ScopePage:
    """Return scopes with their limits."""
    return ScopePage(items=[_scope(item) for item in items])


def _scope(item: Limited) -> ScopeResource:
    counted = ScopeCounts(queued=item.counts.queued, active=item.counts.active, waiting=item.counts.waiting)
    return ScopeResource(scope=str(item.scope), counts=counted, **asdict(item.limits))
