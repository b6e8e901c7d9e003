"""Limits and shares as admins change them while everything runs. Only admins may."""

from __future__ import annotations

from app.domain.errors import NotFound
from app.domain.person import Person
from app.domain.queue.limits import Limited, Scope, ScopeLimits, check_limits, parse_scope
from app.service.queue.dispatch import dispatch
from app.service.queue.queue_admin import require_admin
from app.service.services import Services


def list_limits(services: Services, person: Person) -> list[Limited]:
    """Return every scope that has something set, with its counts. Raises: Forbidden."""
    require_admin(person)
    return services.store.limits.list()


def set_limits(services: Services, person: Person, scope_text: str, limits: ScopeLimits) -> None:
    """Set all limits of a scope, in force at once on every replica; what is None is the default. Runs that are active already
    go on. Raises: Forbidden, InvalidInput, NotFound (an owner that there is not).
    """
    require_admin(person)
    scope = parse_scope(scope_text)
    check_limits(scope, limits)
    owner_id = _owner_id(services, scope)
    services.store.limits.set(scope, limits, owner_id, person)
    _announce(services)


def clear_limits(services: Services, person: Person, scope_text: str) -> None:
    """Give a scope its defaults back. Idempotent. Raises: Forbidden, InvalidInput, NotFound."""
    require_admin(person)
    scope = parse_scope(scope_text)
    services.store.limits.clear(scope, _owner_id(services, scope), person)
    _announce(services)


def _announce(services: Services) -> None:
    # More may be allowed now, and places and reasons may have changed.
    dispatch(services)
    services.nudges.send("*", "queue")


def _owner_id(services: Services, scope: Scope) -> str | None:
    if scope.kind != "owner":
        return None
    user = services.store.users.by_name(scope.name)
    if user is None:
        raise NotFound(f"There is no user named {scope.name}.")
    return user.person.id
