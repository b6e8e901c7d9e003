"""The limits and weights of scopes, as admins change them: in force at once and everywhere, for they are read in the transaction
that admits or starts a run.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, Engine, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.audit import Action
from app.domain.person import Person
from app.domain.queue.admission import Counts
from app.domain.queue.limits import Limited, Scope, ScopeLimits
from app.domain.runs.run import ACTIVE, Status
from app.store.engine import begin, reading
from app.store.queue import audit, counts, lanes
from app.store.runs.rows import AnyRow, storable
from app.store.schema.account_tables import users
from app.store.schema.queue_tables import tallies
from app.store.schema.tables import IS_QUEUED, run_labels, runs

# Make the row of a scope that has none.
MAKE = insert(tallies).values(scope=bindparam("in_scope"), owner_id=bindparam("in_owner")).on_conflict_do_nothing()

# The limits of a scope.
SET = (
    update(tallies)
    .where(tallies.c.scope == bindparam("in_scope"))
    .values(
        max_pending=bindparam("to_pending"),
        max_active=bindparam("to_active"),
        max_queued=bindparam("to_queued"),
        weight=bindparam("to_weight"),
        group_name=bindparam("to_group"),
        label_name=bindparam("to_label"),
        label_value=bindparam("to_value"),
    )
)

# What a scope counts and is set to, locked.
LOCK_SCOPE = select(tallies).where(tallies.c.scope == bindparam("in_scope")).with_for_update()

# Counts go from one scope to another, or come from nowhere.
ADD = (
    update(tallies)
    .where(tallies.c.scope == bindparam("in_scope"))
    .values(
        queued=tallies.c.queued + bindparam("more_queued"),
        active=tallies.c.active + bindparam("more_active"),
        waiting=tallies.c.waiting + bindparam("more_waiting"),
    )
)
REMOVE = delete(tallies).where(tallies.c.scope == bindparam("in_scope"))

# How many labels are limited.
_label_scope = tallies.alias("label_scope")
_labels = select(func.count()).select_from(_label_scope).where(_label_scope.c.label_name.is_not(None)).scalar_subquery()
NOTE_LABELS = update(tallies).where(tallies.c.scope == counts.ALL).values(limited_labels=_labels)

_labelled = select(run_labels.c.run_id).where(
    run_labels.c.name == bindparam("of_label"), run_labels.c.value == bindparam("of_value")
)

# The runs with a label that have not ended, by status.
WITH_LABEL = (
    select(runs.c.status, func.count().label("number"))
    .where(runs.c.ended_at.is_(None), runs.c.id.in_(_labelled))
    .group_by(runs.c.status)
)

# The classes of the queued runs with a label, and another class for one of them.
CLASSES = select(runs.c.label_class).where(IS_QUEUED, runs.c.id.in_(_labelled)).distinct()
RECLASS = (
    update(runs)
    .where(IS_QUEUED, runs.c.label_class == bindparam("from_class"), runs.c.id.in_(_labelled))
    .values(label_class=bindparam("to_class"))
)

# Every scope that is limited, weighted or in a group, with the name of an owner.
LIST = (
    select(tallies, users.c.name.label("owner_name"))
    .outerjoin(users, users.c.id == tallies.c.owner_id)
    .where(
        or_(
            tallies.c.owner_id.is_(None),
            tallies.c.max_pending.is_not(None),
            tallies.c.max_active.is_not(None),
            tallies.c.weight != 1,
            tallies.c.group_name.is_not(None),
        )
    )
    .order_by(tallies.c.scope)
)


class LimitSettings:
    """The limits that admins set."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def list(self) -> list[Limited]:
        """Return every scope that has something set."""
        with reading(self._engine) as connection:
            return [_limited(row) for row in connection.execute(LIST)]

    def set(self, scope: Scope, limits: ScopeLimits, owner_id: str | None = None, by: Person | None = None) -> None:
        """Set all limits of a scope; None is the default. `owner_id` is that of an owner's scope.

        On record where `by` is given. Who changes group takes all runs that have not ended along. The first limit of a label
        counts the runs that have it.
        """
        with begin(self._engine) as connection:
            connection.execute(MAKE, {"in_scope": counts.ALL, "in_owner": None})
            counts.lock_all(connection)
            key = _key(scope, owner_id)
            before = connection.execute(LOCK_SCOPE, {"in_scope": key}).one_or_none()
            connection.execute(MAKE, {"in_scope": key, "in_owner": owner_id})
            if scope.kind == "owner":
                _change_group(connection, before, limits.group)
            connection.execute(SET, {"in_scope": key, **_columns(scope, limits)})
            if scope.kind == "label" and before is None:
                _begin_counting(connection, scope, key)
            _note(connection, by, scope, before, limits)

    def clear(self, scope: Scope, owner_id: str | None = None, by: Person | None = None) -> None:
        """Give a scope its defaults back. Clearing what is not set changes nothing."""
        with begin(self._engine) as connection:
            counts.lock_all(connection)
            key = _key(scope, owner_id)
            before = connection.execute(LOCK_SCOPE, {"in_scope": key}).one_or_none()
            if before is None:
                return
            if scope.kind == "owner":
                _change_group(connection, before, None)
            if scope.kind == "label":
                connection.execute(REMOVE, {"in_scope": key})
                _reclass(connection, scope, key, False)
            else:
                connection.execute(SET, {"in_scope": key, **_columns(scope, ScopeLimits())})
            _note(connection, by, scope, before, ScopeLimits())


def _note(connection: Connection, by: Person | None, scope: Scope, before: AnyRow | None, after: ScopeLimits) -> None:
    was = _in_words(_limits(before)) if before is not None else ""
    if by is not None and was != _in_words(after):
        audit.note(connection, by, Action.LIMIT, str(scope)[:400], was or None, _in_words(after) or None)


def _in_words(limits: ScopeLimits) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(limits).items() if value is not None)


def _key(scope: Scope, owner_id: str | None) -> str:
    if scope.kind == "owner":
        return counts.scope_of(owner_id or "")
    return counts.scope_of_label(scope.name, scope.value) if scope.kind == "label" else str(scope)


def _columns(scope: Scope, limits: ScopeLimits) -> dict[str, object]:
    label = scope.kind == "label"
    return {
        "to_pending": limits.pending,
        "to_active": limits.active,
        "to_queued": limits.queue_length,
        "to_weight": limits.weight or 1,
        "to_group": limits.group,
        "to_label": scope.name if label else None,
        "to_value": storable(scope.value) if label else None,
    }


def _change_group(connection: Connection, owner: AnyRow | None, group: str | None) -> None:
    former = owner.group_name if owner is not None else None
    if group is not None:
        connection.execute(MAKE, {"in_scope": f"group:{group}", "in_owner": None})
    if owner is None or former == group:
        return
    for name, sign in ((former, -1), (group, 1)):
        if name is not None:
            more = {f"more_{count}": sign * getattr(owner, count) for count in ("queued", "active", "waiting")}
            connection.execute(ADD, {"in_scope": f"group:{name}", **more})


def _begin_counting(connection: Connection, scope: Scope, key: str) -> None:
    more = {"more_queued": 0, "more_active": 0, "more_waiting": 0}
    for row in connection.execute(WITH_LABEL, _label(scope)):
        status = Status(row.status)
        more["more_active" if status in ACTIVE else f"more_{status.value}"] += row.number
    connection.execute(ADD, {"in_scope": key, **more})
    _reclass(connection, scope, key, True)


def _reclass(connection: Connection, scope: Scope, key: str, limited: bool) -> None:
    own = counts.class_of([key])
    for former in connection.execute(CLASSES, _label(scope)).scalars().all():
        parts = {part for part in former.split(",") if part} - {own} | ({own} if limited else set())
        change = {"from_class": former, "to_class": ",".join(sorted(parts))}
        connection.execute(RECLASS, {**_label(scope), **change})
    connection.execute(NOTE_LABELS)
    lanes.refill(connection)


def _label(scope: Scope) -> dict[str, object]:
    return {"of_label": scope.name, "of_value": storable(scope.value)}


def _limits(row: AnyRow) -> ScopeLimits:
    weight = None if row.weight == 1 else row.weight
    return ScopeLimits(row.max_pending, row.max_active, row.max_queued, weight, row.group_name)


def _limited(row: AnyRow) -> Limited:
    return Limited(_scope(row), _limits(row), Counts(row.queued, row.active, row.waiting))


def _scope(row: AnyRow) -> Scope:
    if row.label_name is not None:
        return Scope("label", row.label_name, row.label_value)
    kind, _, name = row.scope.partition(":")
    if name == "*":
        return Scope(kind + "s")
    return Scope(kind, row.owner_name or name if kind == "owner" else name)
