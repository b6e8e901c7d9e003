"""The queue: the queued runs in the order in which they start, and the step out of it.

Order and limits are the domain's.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, bindparam, select

from app.domain.errors import Fenced
from app.domain.queue.admission import Counts, Limits, has_place
from app.domain.queue.queue_positions import QueuePositions
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Run
from app.store.engine import begin, db_now, reading
from app.store.queue import counts, lanes, order, queue_positions
from app.store.queue.counts import InForce
from app.store.runs import status_changes
from app.store.runs.rows import AnyRow, run_of
from app.store.schema.tables import IS_QUEUED, runs

# The queued runs whose queue timeout is over, longest overdue first.
OVERDUE = (
    select(*runs.c)
    .where(IS_QUEUED, runs.c.queue_deadline_at < db_now())
    .order_by(runs.c.queue_deadline_at)
    .limit(bindparam("at_most"))
)

# How long runs kept their places, of those submitted lately.
_late = select(runs.c.dispatched_at, runs.c.ended_at).order_by(runs.c.sequence.desc()).limit(300).subquery("late")
DURATIONS = (
    select((_late.c.ended_at - _late.c.dispatched_at).label("lasted"))
    .where(_late.c.ended_at.is_not(None), _late.c.dispatched_at.is_not(None))
    .limit(100)
)

# A run by its id.
GET = select(*runs.c).where(runs.c.id == bindparam("run"))


class Queue:
    """The queued runs."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def dispatch_next(self, limits: Limits) -> Run | None:
        """Move the best queued run that may start to `starting`; None when there is no place or no run.

        Exactly one caller gets a run. Raises: StoreUnavailable.
        """
        with reading(self._engine) as connection:
            # Mostly there is nothing to do: that is found out without keeping writers waiting.
            known = counts.in_force(connection, limits)
            if not _could_start(known):
                return None
        with begin(self._engine) as connection:
            return _start_next(connection, limits, known.due)

    def positions(self, ageing_s: float = 0.0) -> QueuePositions:
        """Return the order in which the queued runs start if nothing changes. It costs a look at the whole queue."""
        with reading(self._engine) as connection:
            return queue_positions.read(connection, ageing_s)

    def position(self, run: Run, ageing_s: float = 0.0, positions: QueuePositions | None = None) -> int:
        """Return the 1-based place of a queued run in that order, by positions that the caller has or by new ones.

        0 when the run is not in the queue (any more).
        """
        values = {"run": run.id, "ageing_s": order.ageing(ageing_s)}
        with reading(self._engine) as connection:
            stands = connection.execute(queue_positions.AMONG_OWN, values).one_or_none()
            if stands is None:
                return 0
            place = (run.owner_id, stands.group_name, stands.band, stands.number)
            # Positions that are older than the owner's first run do not have it.
            return (positions.position(*place) if positions else 0) or queue_positions.read(connection, ageing_s).position(*place)

    def first(self, limit: int, owner_id: str | None = None, ageing_s: float = 0.0) -> list[tuple[int, Run]]:
        """Return the first queued runs, of all or of one owner, with their 1-based places in that order."""
        with reading(self._engine) as connection:
            positions = queue_positions.read(connection, ageing_s)
            if owner_id is None:
                return queue_positions.first_of_all(connection, positions, limit, ageing_s)
            return queue_positions.first_of_owner(connection, positions, owner_id, limit, ageing_s)

    def recent_durations(self) -> tuple[float, ...]:
        """Return for how long the runs that ended among the last few hundred kept their places, in seconds."""
        with reading(self._engine) as connection:
            return tuple(max(0.0, row.lasted) for row in connection.execute(DURATIONS))

    def overdue(self, limit: int) -> list[Run]:
        """Return queued runs whose queue timeout is over by the database's clock."""
        with reading(self._engine) as connection:
            return [run_of(row) for row in connection.execute(OVERDUE, {"at_most": limit})]


def _could_start(known: InForce) -> bool:
    return known.everyone.queued > 0 and has_place(known.limits, Counts(), known.everyone)


def _start_next(connection: Connection, limits: Limits, due: bool) -> Run | None:
    known = counts.lock_in_force(connection, limits)
    if not _could_start(known):
        return None
    if due:
        lanes.release(connection)
    row = _next(connection, known.limits)
    if row is None:
        return None
    run = run_of(row)
    try:
        scopes = counts.scopes_of(run, row.lane_group_name, known.limited_labels)
        started = status_changes.write(connection, run, transition(run, Step.DISPATCH, row.now), scopes=scopes)
    except Fenced:
        connection.rollback()
        return None
    order.write(connection, order.charges(row))
    return started


def _next(connection: Connection, limits: Limits) -> AnyRow | None:
    row = order.next_head(connection, limits)
    if row is None or row.sequence is not None:
        return row
    # A process of an older version took the head without a word to the lane.
    lanes.refill(connection)
    return order.next_head(connection, limits)
