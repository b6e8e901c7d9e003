"""The counts of queued, active and waiting runs: each moves, under row locks, in the transaction that moves its run.

Locking order, for everybody: the row `all`, the owner's row, the run's row. What is too many is decided in the domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.admission import Tally
from app.domain.run import Run, Status
from app.store.rows import AnyRow
from app.store.tables import tallies

ALL = "all"

_COUNTS = (tallies.c.queued, tallies.c.active, tallies.c.waiting)

# One more queued run in both of its scopes, locked in this order; a row is made with its first. The same SQL on both databases.
_enqueue = insert(tallies).values(
    [
        {"scope": ALL, "owner_id": None, "queued": 1},
        {"scope": bindparam("owner_scope"), "owner_id": bindparam("owner"), "queued": 1},
    ]
)
ENQUEUE = _enqueue.on_conflict_do_update(index_elements=[tallies.c.scope], set_={"queued": tallies.c.queued + 1}).returning(
    tallies.c.scope, *_COUNTS
)

# A run moves from one count to another, or out of all, in both of its scopes.
MOVE = (
    update(tallies)
    .where(tallies.c.scope.in_([ALL, bindparam("in_scope")]))
    .values(
        queued=tallies.c.queued + bindparam("more_queued"),
        active=tallies.c.active + bindparam("more_active"),
        waiting=tallies.c.waiting + bindparam("more_waiting"),
    )
)

# The counts of one scope.
READ = select(*_COUNTS).where(tallies.c.scope == bindparam("scope"))

# The same, and nobody else moves a run between counts until this transaction ends.
LOCK = READ.with_for_update()

# Both scopes of a run, locked in the order that everybody keeps to.
LOCK_BOTH = (
    select(tallies.c.scope).where(tallies.c.scope.in_([ALL, bindparam("in_scope")])).order_by(tallies.c.scope).with_for_update()
)


def scope_of(owner_id: str) -> str:
    """Return the scope that counts an owner's runs."""
    return f"owner:{owner_id}"


def enqueue(connection: Connection, owner_id: str) -> tuple[Tally, Tally]:
    """Count one more queued run; return the counts of the owner and of all *before* it. Both stay locked."""
    rows = connection.execute(ENQUEUE, {"owner_scope": scope_of(owner_id), "owner": owner_id})
    counts = {row.scope: _without_newest(row) for row in rows}
    return counts[scope_of(owner_id)], counts[ALL]


@contextmanager
def moving(connection: Connection, before: Run, after: Run) -> Iterator[None]:
    """Lock the counts that the step changes, have it saved inside, then change them.

    They are locked before the run, as everybody does, but changed after it: a step that is refused must not touch them.
    """
    old, new = _class_of(before.status), _class_of(after.status)
    if old == new:
        yield
        return
    scope = {"in_scope": scope_of(before.owner_id)}
    if connection.dialect.name != "sqlite":
        connection.execute(LOCK_BOTH, scope)
    yield
    more = {f"more_{name}": (new == name) - (old == name) for name in ("queued", "active", "waiting")}
    connection.execute(MOVE, {**scope, **more})


def read(connection: Connection, scope: str) -> Tally:
    """Return the counts of a scope."""
    return _tally(connection.execute(READ, {"scope": scope}).one_or_none())


def lock_all(connection: Connection) -> Tally:
    """Lock the row `all` and return it: no run enters, leaves or moves between the counts meanwhile."""
    return _tally(connection.execute(LOCK, {"scope": ALL}).one_or_none())


def _class_of(status: Status) -> str | None:
    if status.final:
        return None
    return "active" if status.active else status.value


def _tally(row: AnyRow | None) -> Tally:
    return Tally(row.queued, row.active, row.waiting) if row else Tally()


def _without_newest(row: AnyRow) -> Tally:
    return Tally(row.queued - 1, row.active, row.waiting)
