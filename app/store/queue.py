"""The queue: the queued runs in the order in which they start, and the step out of it.

Order and limits are the domain's.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, bindparam, func, or_, select, update

from app.domain.admission import Limits, Tally, has_place
from app.domain.errors import Conflict, Fenced, NotFound, RunEnded
from app.domain.lifecycle import Step, transition
from app.domain.run import Priority, Run
from app.store import moves
from app.store import tallies as counts
from app.store.engine import begin, db_now, reading
from app.store.rows import run_of
from app.store.tables import IS_QUEUED, QUEUED, runs, tallies

_ORDER = (runs.c.priority_order, runs.c.sequence)


def _head_of_owner() -> ColumnElement[int]:
    queued = runs.alias("queued")
    return (
        select(queued.c.sequence)
        .where(queued.c.status == QUEUED, queued.c.owner_id == tallies.c.owner_id)
        .order_by(queued.c.priority_order, queued.c.sequence)
        .limit(1)
        .correlate(tallies)
        .scalar_subquery()
    )


def _next() -> Select[tuple[object, ...]]:
    heads = select(_head_of_owner()).where(
        tallies.c.owner_id.is_not(None), tallies.c.queued > 0, tallies.c.active < bindparam("owner_active")
    )
    return select(*runs.c, db_now().label("now")).where(IS_QUEUED, runs.c.sequence.in_(heads)).order_by(*_ORDER).limit(1)


# The best queued run whose owner has a place. It looks at one head per owner with queued runs, by index, never at the
# rest of the queue. Weighted fair share between owners and ageing come here: they order these heads.
NEXT = _next()

# How many runs start before this one.
AHEAD = select(func.count()).where(
    IS_QUEUED,
    or_(
        runs.c.priority_order < bindparam("priority_order"),
        and_(runs.c.priority_order == bindparam("priority_order"), runs.c.sequence < bindparam("sequence")),
    ),
)

# The queued runs in start order.
QUEUE = select(*runs.c).where(IS_QUEUED).order_by(*_ORDER).limit(bindparam("at_most"))

# The queued runs whose queue timeout is over, longest overdue first.
OVERDUE = (
    select(*runs.c)
    .where(IS_QUEUED, runs.c.queue_deadline_at < db_now())
    .order_by(runs.c.queue_deadline_at)
    .limit(bindparam("at_most"))
)

# Another priority for a run that still waits in the queue; its sequence stays.
SET_PRIORITY = (
    update(runs).where(runs.c.id == bindparam("run"), IS_QUEUED).values(priority_order=bindparam("order")).returning(*runs.c)
)

# A run by its id.
GET = select(*runs.c).where(runs.c.id == bindparam("run"))


class Queue:
    """The queued runs. Part of RunStore."""

    _engine: Engine

    def dispatch_next(self, limits: Limits) -> Run | None:
        """Move the best queued run whose owner has a place to `starting`; None when there is no place or no run.

        Exactly one caller gets a run. Raises: StoreUnavailable.
        """
        with reading(self._engine) as connection:
            # Mostly there is nothing to do: that is found out without keeping writers waiting.
            if not _could_start(limits, counts.read(connection, counts.ALL)):
                return None
        with begin(self._engine) as connection:
            return _start_next(connection, limits)

    def position(self, run: Run) -> int:
        """Return the 1-based place of a queued run in the order in which runs start."""
        place = {"priority_order": run.priority.order, "sequence": run.sequence}
        with reading(self._engine) as connection:
            return 1 + connection.execute(AHEAD, place).scalar_one()

    def queue(self, limit: int) -> list[Run]:
        """Return the first queued runs in the order in which they start."""
        with reading(self._engine) as connection:
            return [run_of(row) for row in connection.execute(QUEUE, {"at_most": limit})]

    def overdue_queued(self, limit: int) -> list[Run]:
        """Return queued runs whose queue timeout is over by the database's clock."""
        with reading(self._engine) as connection:
            return [run_of(row) for row in connection.execute(OVERDUE, {"at_most": limit})]

    def set_priority(self, run_id: str, priority: Priority) -> Run:
        """Give a queued run another priority. Raises: NotFound, RunEnded, Conflict (it has left the queue)."""
        with begin(self._engine) as connection:
            row = connection.execute(SET_PRIORITY, {"run": run_id, "order": priority.order}).one_or_none()
            if row is not None:
                return run_of(row)
            row = connection.execute(GET, {"run": run_id}).one_or_none()
        if row is None:
            raise NotFound()
        if run_of(row).status.final:
            raise RunEnded()
        raise Conflict("The run has left the queue; its priority has no effect any more.")


def _could_start(limits: Limits, everyone: Tally) -> bool:
    return everyone.queued > 0 and has_place(limits, Tally(), everyone)


def _start_next(connection: Connection, limits: Limits) -> Run | None:
    if not _could_start(limits, counts.lock_all(connection)):
        return None
    row = connection.execute(NEXT, {"owner_active": limits.owner_active}).one_or_none()
    if row is None:
        return None
    run = run_of(row)
    try:
        return moves.write(connection, run, transition(run, Step.DISPATCH, row.now))
    except Fenced:
        connection.rollback()
        return None
