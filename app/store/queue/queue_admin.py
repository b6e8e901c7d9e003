"""What people change about the queue: priorities, the front, pause and close. Each change is one transaction with its entry in
the record of who did it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Engine, bindparam, case, func, literal, null, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.audit import Action
from app.domain.errors import Conflict, NotFound, RunEnded
from app.domain.person import Person
from app.domain.queue.admission import Counts
from app.domain.queue.fairshare import FRONT
from app.domain.runs.run import Priority, Run
from app.store.engine import begin, db_now, reading
from app.store.queue import audit, counts, lanes
from app.store.queue.queue import GET
from app.store.runs.rows import AnyRow, run_of
from app.store.schema.queue_tables import tallies
from app.store.schema.tables import IS_QUEUED, runs

# Another priority for a run that still waits in the queue; its sequence stays, and it leaves the front.
SET_PRIORITY = (
    update(runs)
    .where(runs.c.id == bindparam("run"), IS_QUEUED)
    .values(priority_order=bindparam("order"), front_of=None)
    .returning(*runs.c)
)

# A queued run before all that are not at the front, too.
TO_FRONT = (
    update(runs)
    .where(runs.c.id == bindparam("run"), IS_QUEUED)
    .values(front_of=func.coalesce(runs.c.front_of, runs.c.priority_order), priority_order=FRONT)
    .returning(*runs.c)
)


def _since(column: ColumnElement[float], name: str) -> ColumnElement[float]:
    # What is so already keeps the time since when it is.
    return case((bindparam(name) == literal(1), func.coalesce(column, db_now())), else_=null())


# Whether runs start, and whether they are taken in. The row of all is there from the first run on.
MAKE_ALL = insert(tallies).values(scope=counts.ALL).on_conflict_do_nothing()
SET_GATES = (
    update(tallies)
    .where(tallies.c.scope == counts.ALL)
    .values(paused_at=_since(tallies.c.paused_at, "paused"), closed_at=_since(tallies.c.closed_at, "closed"))
)


class QueueAdmin:
    """What people change about the queue."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def set_priority(self, run_id: str, priority: Priority, by: Person) -> Run:
        """Give a queued run another priority. Raises: NotFound, RunEnded, Conflict (it has left the queue)."""
        return self._place(
            run_id, by, Action.PRIORITY, lambda c: c.execute(SET_PRIORITY, {"run": run_id, "order": priority.order})
        )

    def move_to_front(self, run_id: str, by: Person) -> Run:
        """Place a queued run before all others that were not moved there. Raises: NotFound, RunEnded, Conflict."""
        return self._place(run_id, by, Action.FRONT, lambda c: c.execute(TO_FRONT, {"run": run_id}))

    def gates(self) -> Counts:
        """Return the counts of all runs, with whether they start and whether they are taken in."""
        with reading(self._engine) as connection:
            return counts.read(connection, counts.ALL)

    def set_gates(self, by: Person, *, paused: bool | None = None, closed: bool | None = None) -> Counts:
        """Let nothing start (`paused`), take nothing in (`closed`), or let it go on; None leaves it as it is.

        Exact: no run starts, and none is accepted, once this has returned.
        """
        with begin(self._engine) as connection:
            connection.execute(MAKE_ALL)
            was = counts.lock_all(connection)
            now = {"paused": was.paused if paused is None else paused, "closed": was.closed if closed is None else closed}
            connection.execute(SET_GATES, {name: int(on) for name, on in now.items()})
            _note_gate(connection, by, Action.DISPATCH, was.paused, now["paused"], ("running", "paused"))
            _note_gate(connection, by, Action.ADMISSION, was.closed, now["closed"], ("open", "closed"))
            return counts.lock_all(connection)

    def _place(self, run_id: str, by: Person, action: Action, change: Callable[[Connection], CursorResult[Any]]) -> Run:
        with begin(self._engine) as connection:
            counts.lock_all(connection)
            before = connection.execute(GET, {"run": run_id}).one_or_none()
            row = change(connection).one_or_none()
            if before is not None and row is not None:
                _relocate(connection, before, row)
                audit.note(connection, by, action, run_id, _stood(before), _stood(row))
                return run_of(row)
        if before is None:
            raise NotFound()
        if run_of(before).status.final:
            raise RunEnded()
        raise Conflict("The run has left the queue; its place in it has no effect any more.")


def _relocate(connection: Connection, before: AnyRow, after: AnyRow) -> None:
    lanes.leave(connection, before)
    if after.not_before is None:
        lanes.join(connection, after)


def _stood(row: AnyRow) -> str:
    return "front" if row.front_of is not None else run_of(row).priority.value


def _note_gate(connection: Connection, by: Person, action: Action, was: bool, now: bool, words: tuple[str, str]) -> None:
    if was != now:
        audit.note(connection, by, action, None, words[was], words[now])
