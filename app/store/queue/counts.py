"""The counts of queued, active and waiting runs, and the limits on them: each count moves, under row locks, in the transaction
that moves its run.

A run counts in `all`, in its owner's scope, in the scope of its owner's group and in those of its labels that are limited.
Locking order, for everybody: the row `all`, the other scopes, the run's row. What is too many is decided in the domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Engine,
    Integer,
    String,
    and_,
    bindparam,
    case,
    exists,
    literal,
    null,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from app.domain.queue.admission import Counts, Group, Labelled, Limits
from app.domain.runs.run import Run, Status
from app.store.engine import db_now, reading
from app.store.runs.rows import AnyRow, digest, storable
from app.store.schema.queue_tables import tallies
from app.store.schema.tables import IS_HELD_BACK, runs

ALL, ANY_OWNER, ANY_GROUP = "all", "owner:*", "group:*"
LABEL = "label:"

_COUNTS = (tallies.c.queued, tallies.c.active, tallies.c.waiting, tallies.c.paused_at, tallies.c.closed_at)
_ROW = (
    tallies.c.scope,
    *_COUNTS,
    tallies.c.max_pending,
    tallies.c.max_active,
    tallies.c.max_queued,
    tallies.c.group_name,
    tallies.c.label_name,
    tallies.c.label_value,
    tallies.c.limited_labels,
)


def _default_pending(scope: str) -> ColumnElement[int]:
    default = tallies.alias("default_" + scope.partition(":")[0])
    return select(default.c.max_pending).where(default.c.scope == scope).scalar_subquery()


# One more queued run in `all` and in its owner's scope, locked in this order; a row is made with its first. The same SQL on
# both databases. Not VALUES with two rows: SQLAlchemy compiles those anew each time. SQLite wants the WHERE before ON CONFLICT.
_two_rows: CompoundSelect[Any] = union_all(
    select(literal(ALL, String()), null(), literal(1, Integer())),
    select(bindparam("owner_scope", type_=String()), bindparam("owner", type_=String()), literal(1, Integer())).where(true()),
)
_enqueue = insert(tallies).from_select(["scope", "owner_id", "queued"], _two_rows)
ENQUEUE = _enqueue.on_conflict_do_update(index_elements=[tallies.c.scope], set_={"queued": tallies.c.queued + 1}).returning(
    *_ROW, _default_pending(ANY_OWNER).label("default_pending")
)

# One more queued run in the scopes of its group and its limited labels.
ENQUEUE_MORE = (
    update(tallies)
    .where(tallies.c.scope.in_(bindparam("in_scopes", expanding=True)))
    .values(queued=tallies.c.queued + 1)
    .returning(*_ROW, _default_pending(ANY_GROUP).label("default_pending"))
)


def _moved(column: ColumnElement[int], more: str) -> ColumnElement[int]:
    after = column + bindparam(more)
    # A process of an older version counts neither groups nor labels: what it took in was not counted there.
    optional = and_(tallies.c.owner_id.is_(None), tallies.c.scope != ALL)
    return case((and_(optional, after < 0), 0), else_=after)


# A run moves from one count to another, or out of all, in all of its scopes.
MOVE = (
    update(tallies)
    .where(tallies.c.scope.in_(bindparam("in_scopes", expanding=True)))
    .values(
        queued=_moved(tallies.c.queued, "more_queued"),
        active=_moved(tallies.c.active, "more_active"),
        waiting=_moved(tallies.c.waiting, "more_waiting"),
    )
)

# Scopes with their counts and limits, in the order of locking.
READ = select(*_ROW).where(tallies.c.scope.in_(bindparam("in_scopes", expanding=True))).order_by(tallies.c.scope)

# The same, and nobody else moves a run between their counts until this transaction ends.
LOCK = READ.with_for_update()


# What decides whether any run may start, and whether the time of one that was held back has come.
READ_START = select(*_ROW, exists().where(IS_HELD_BACK, runs.c.not_before <= db_now()).label("due")).where(
    tallies.c.scope.in_([ALL, ANY_GROUP, ANY_OWNER])
)
LOCK_START = select(*_ROW).where(tallies.c.scope.in_([ALL, ANY_GROUP, ANY_OWNER])).order_by(tallies.c.scope).with_for_update()


@dataclass(frozen=True, slots=True)
class InForce:
    """The counts of all, the limits as admins changed them, how many labels are limited, whether a run held back is due."""

    everyone: Counts
    limits: Limits
    limited_labels: int
    due: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of the scopes of a run that comes in, *before* it: the limits in force for it, the counts, its class."""

    limits: Limits
    owner: Counts
    everyone: Counts
    group: Group | None
    labels: tuple[Labelled, ...]
    label_class: str


def scope_of(owner_id: str) -> str:
    """Return the scope that counts an owner's runs."""
    return f"owner:{owner_id}"


def scope_of_label(name: str, value: str) -> str:
    """Return the scope that counts the runs with a label, where it is limited."""
    return LABEL + digest(f"{name}={storable(value)}")[:32]


def class_of(scopes: Iterable[str]) -> str:
    """Return the class of the limited labels with these scopes."""
    return ",".join(sorted(scope.removeprefix(LABEL) for scope in scopes if scope.startswith(LABEL)))


def enqueue(connection: Connection, owner_id: str, labels: Mapping[str, str], limits: Limits) -> Entry:
    """Count one more queued run; return what its scopes were before it. They stay locked."""
    rows = {row.scope: row for row in connection.execute(ENQUEUE, {"owner_scope": scope_of(owner_id), "owner": owner_id})}
    everyone, owner = rows[ALL], rows[scope_of(owner_id)]
    scopes = _optional_scopes(owner.group_name, labels if everyone.limited_labels else {})
    more = connection.execute(ENQUEUE_MORE, {"in_scopes": scopes}).all() if scopes else []
    return Entry(
        replace(
            limits,
            owner_pending=_first(owner.max_pending, owner.default_pending, limits.owner_pending),
            queue_length=_first(everyone.max_queued, limits.queue_length),
            active=_first(everyone.max_active, limits.active),
        ),
        _without_newest(owner),
        _without_newest(everyone),
        next((_entered(row, limits) for row in more if row.label_name is None), None),
        tuple(
            Labelled(f"{row.label_name}={row.label_value}", _without_newest(row), row.max_pending)
            for row in more
            if row.label_name is not None
        ),
        class_of(row.scope for row in more),
    )


@contextmanager
def moving(connection: Connection, before: Run, after: Run, scopes: Sequence[str] | None = None) -> Iterator[None]:
    """Lock the counts that the step changes, have it saved inside, then change them.

    They are locked before the run, as everybody does, but changed after it: a step that is refused must not touch them.
    `scopes` are those of the run, from a caller that holds the lock of all.
    """
    old, new = _class_of(before.status), _class_of(after.status)
    if old == new:
        yield
        return
    scopes = scopes or _lock_scopes(connection, before)
    yield
    more = {f"more_{name}": (new == name) - (old == name) for name in ("queued", "active", "waiting")}
    connection.execute(MOVE, {"in_scopes": scopes, **more})


def _lock_scopes(connection: Connection, run: Run) -> list[str]:
    owner = scope_of(run.owner_id)
    rows = {row.scope: row for row in connection.execute(LOCK, {"in_scopes": [ALL, owner]})}
    group = rows[owner].group_name if owner in rows else None
    return scopes_of(run, group, rows[ALL].limited_labels if ALL in rows else 0)


def label_class(connection: Connection, labels: Mapping[str, str]) -> str:
    """Return the class that a run with the labels has now."""
    scopes = _optional_scopes(None, labels)
    return class_of(row.scope for row in connection.execute(READ, {"in_scopes": scopes})) if scopes else ""


def read(connection: Connection, scope: str) -> Counts:
    """Return the counts of a scope."""
    return _counts_of(connection.execute(READ, {"in_scopes": [scope]}).one_or_none())


def in_force(connection: Connection, limits: Limits) -> InForce:
    """Return what decides whether any run may start."""
    rows = {row.scope: row for row in connection.execute(READ_START)}
    everyone, known = _in_force(rows, limits)
    return InForce(everyone, known, rows[ALL].limited_labels if ALL in rows else 0, any(row.due for row in rows.values()))


def lock_in_force(connection: Connection, limits: Limits) -> InForce:
    """Return the same, without what is due; no run enters, leaves or moves between counts, and no limit changes, meanwhile."""
    rows = {row.scope: row for row in connection.execute(LOCK_START)}
    everyone, known = _in_force(rows, limits)
    return InForce(everyone, known, rows[ALL].limited_labels if ALL in rows else 0)


def scopes_of(run: Run, group: str | None, limited_labels: int) -> list[str]:
    """Return all scopes that a run counts in."""
    return [ALL, scope_of(run.owner_id), *_optional_scopes(group, run.spec.labels if limited_labels else {})]


@dataclass(frozen=True, slots=True)
class StartConditions:
    """What a queued run may wait for: the limits in force for it, the counts, and a label that is at its limit."""

    limits: Limits
    owner: Counts
    everyone: Counts
    group: Group | None
    full_label: tuple[str, int] | None


def start_conditions(connection: Connection, run: Run, limits: Limits) -> StartConditions:
    """Return what the run may wait for."""
    owner_scope = scope_of(run.owner_id)
    common = [ALL, ANY_GROUP, ANY_OWNER, owner_scope, *_optional_scopes(None, run.spec.labels)]
    rows = {row.scope: row for row in connection.execute(READ, {"in_scopes": common})}
    everyone, known = _in_force(rows, limits)
    owner = rows.get(owner_scope)
    group = None
    if owner is not None and owner.group_name is not None:
        row = connection.execute(READ, {"in_scopes": [f"group:{owner.group_name}"]}).one_or_none()
        group = _group(row, _counts_of(row), known) if row is not None else None
    if owner is not None:
        known = replace(known, owner_active=_first(owner.max_active, known.owner_active))
    full = [row for row in rows.values() if row.label_name is not None and row.active >= _first(row.max_active, row.active + 1)]
    label = next(((f"{row.label_name}={row.label_value}", row.max_active) for row in full), None)
    return StartConditions(known, _counts_of(owner), everyone, group, label)


def lock_all(connection: Connection) -> Counts:
    """Lock the row `all` and return it: no run enters, leaves or moves between the counts meanwhile."""
    return _counts_of(connection.execute(LOCK, {"in_scopes": [ALL]}).one_or_none())


def _in_force(rows: Mapping[str, AnyRow], limits: Limits) -> tuple[Counts, Limits]:
    everyone, owners, groups = rows.get(ALL), rows.get(ANY_OWNER), rows.get(ANY_GROUP)
    known = replace(
        limits,
        queue_length=_first(everyone.max_queued if everyone else None, limits.queue_length),
        active=_first(everyone.max_active if everyone else None, limits.active),
        owner_active=_first(owners.max_active if owners else None, limits.owner_active),
        owner_pending=_first(owners.max_pending if owners else None, limits.owner_pending),
        group_active=groups.max_active if groups and groups.max_active is not None else limits.group_active,
    )
    return _counts_of(everyone), known


def _optional_scopes(group: str | None, labels: Mapping[str, str]) -> list[str]:
    scopes = [scope_of_label(name, value) for name, value in labels.items()]
    return sorted(scopes) if group is None else [f"group:{group}", *sorted(scopes)]


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _group(row: AnyRow, counts: Counts, limits: Limits) -> Group:
    pending = row.max_pending if row.max_pending is not None else limits.group_pending
    active = row.max_active if row.max_active is not None else limits.group_active
    return Group(row.scope.removeprefix("group:"), counts, pending, active)


def _entered(row: AnyRow, limits: Limits) -> Group:
    default = limits.group_pending if row.default_pending is None else row.default_pending
    return _group(row, _without_newest(row), replace(limits, group_pending=default))


def _class_of(status: Status) -> str | None:
    if status.final:
        return None
    return "active" if status.active else status.value


def _counts_of(row: AnyRow | None) -> Counts:
    return _counted(row, row.queued) if row else Counts()


def _without_newest(row: AnyRow) -> Counts:
    return _counted(row, row.queued - 1)


def _counted(row: AnyRow, queued: int) -> Counts:
    return Counts(queued, row.active, row.waiting, row.paused_at is not None, row.closed_at is not None)


class RunCounts:
    """The counts, to be looked at."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def of_owner(self, owner_id: str) -> tuple[Counts, Counts]:
        """Return how many runs are queued, active and waiting: the owner's, and everyone's."""
        with reading(self._engine) as connection:
            return read(connection, scope_of(owner_id)), read(connection, ALL)

    def start_conditions(self, run: Run, limits: Limits) -> StartConditions:
        """Return what a queued run may wait for: limits in force, counts, its group, a label that is at its limit."""
        with reading(self._engine) as connection:
            return start_conditions(connection, run, limits)
