"""What an admin may change of the queue's limits and shares, and for whom. Pure: parsing and checking."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from app.domain.errors import FieldError, InvalidInput
from app.domain.queue.admission import Counts
from app.domain.queue.fairshare import MAX_WEIGHT

MAX_LIMIT = 2**31 - 1
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Which settings each kind of scope has. `owner:*` and `group:*` are the defaults of their kinds.
_FIELDS = {
    "all": {"queue_length", "active"},
    "owners": {"pending", "active"},
    "owner": {"pending", "active", "weight", "group"},
    "groups": {"pending", "active"},
    "group": {"pending", "active", "weight"},
    "label": {"pending", "active"},
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a limit is for: all, owners (every one), an owner by name, groups, a group, or the runs with a label."""

    kind: str
    name: str = ""
    value: str = ""

    def __str__(self) -> str:
        if self.kind in ("owners", "groups"):
            return f"{self.kind[:-1]}:*"
        label = f"={self.value}" if self.kind == "label" else ""
        return f"{self.kind}:{self.name}{label}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class ScopeLimits:
    """The limits of one scope; None is the default. Pending = queued + active + waiting; weight = the share among others."""

    pending: int | None = None
    active: int | None = None
    queue_length: int | None = None
    weight: int | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """A scope, what it is set to, and what it counts (nothing, for the defaults)."""

    scope: Scope
    limits: ScopeLimits
    counts: Counts


def parse_scope(text: str) -> Scope:
    """Read `all`, `owner:*`, `owner:NAME`, `group:*`, `group:NAME` or `label:NAME=VALUE`. Raises: InvalidInput."""
    kind, _, rest = text.partition(":")
    if text == "all":
        return Scope("all")
    if text in ("owner:*", "group:*"):
        return Scope(kind + "s")
    if kind == "owner" and rest:
        return Scope("owner", rest)
    if kind == "group" and _GROUP.fullmatch(rest):
        return Scope("group", rest)
    name, equals, value = rest.partition("=")
    if kind == "label" and 0 < len(name) <= 64 and equals and len(value) <= 256:
        return Scope("label", name, value)
    raise InvalidInput([FieldError("scope", "must be all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE")])


def check_limits(scope: Scope, limits: ScopeLimits) -> None:
    """Refuse what the scope does not have, and numbers that make no sense. Raises: InvalidInput with every fault."""
    faults = []
    for field in fields(limits):
        value = getattr(limits, field.name)
        if value is None:
            continue
        if field.name not in _FIELDS[scope.kind]:
            faults.append(FieldError(field.name, f"is not a limit of {scope}"))
        elif field.name == "weight" and not 1 <= value <= MAX_WEIGHT:
            faults.append(FieldError("weight", f"must be 1 to {MAX_WEIGHT}"))
        elif field.name == "group" and not _GROUP.fullmatch(value):
            faults.append(FieldError("group", "must be 1 to 64 letters, digits, dots, dashes or underscores"))
        elif isinstance(value, int) and not 0 <= value <= MAX_LIMIT:
            faults.append(FieldError(field.name, f"must be 0 to {MAX_LIMIT}"))
    if scope.kind == "label" and limits.active is None and limits.pending is None:
        faults.append(FieldError("active", "is required, or pending"))
    if faults:
        raise InvalidInput(faults)
