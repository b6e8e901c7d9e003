"""Where the queue begins: the first ready run of each lane (owner, priority, label class), so that nobody need look at the rest.

Whoever moves a run into or out of the queue does it under the lock of the row `all` and keeps its lane right in the same
transaction. Which head is next is the domain's; `app/store/queue/order.py` asks it in SQL.
"""

from __future__ import annotations

from sqlalchemy import CTE, ColumnElement, Connection, Engine, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.runs.run import Status
from app.store.engine import begin, db_now, reading
from app.store.queue import counts
from app.store.runs.rows import AnyRow
from app.store.schema.queue_tables import lanes
from app.store.schema.tables import IS_HELD_BACK, IS_READY, runs

_KEY = (lanes.c.owner_id, lanes.c.priority_order, lanes.c.label_class)
_KEY_OF_RUN = (runs.c.owner_id, runs.c.priority_order, runs.c.label_class)
_THIS = (
    lanes.c.owner_id == bindparam("in_owner"),
    lanes.c.priority_order == bindparam("in_band"),
    lanes.c.label_class == bindparam("in_class"),
)

# A run comes in at the end of its lane; it is the head when there is none.
_last = upsert(lanes).values(
    owner_id=bindparam("in_owner"),
    priority_order=bindparam("in_band"),
    label_class=bindparam("in_class"),
    head=bindparam("in_sequence"),
    since=bindparam("in_since"),
)


def _earlier_head(last: Insert) -> Insert:
    return last.on_conflict_do_update(
        index_elements=_KEY,
        set_={"head": last.excluded.head, "since": last.excluded.since},
        where=or_(lanes.c.head.is_(None), lanes.c.head > last.excluded.head),
    )


JOIN = _earlier_head(_last)


def _first(column: ColumnElement[object]) -> ColumnElement[object]:
    found = select(column).where(IS_READY, *(own == of_lane for own, of_lane in zip(_KEY_OF_RUN, _KEY, strict=True)))
    return found.order_by(runs.c.sequence).limit(1).correlate(lanes).scalar_subquery()


# The head has left its lane, which is looked through from where it stood; any other run may leave unnoticed.
LEAVE = (
    update(lanes)
    .where(*_THIS, lanes.c.head == bindparam("in_sequence"))
    .values(head=_first(runs.c.sequence), since=_first(runs.c.created_at))
)

# The runs whose time has come are ready from now on.
RELEASE = (
    update(runs)
    .where(IS_HELD_BACK, runs.c.not_before <= db_now())
    .values(not_before=None)
    .returning(*_KEY_OF_RUN, runs.c.sequence, runs.c.created_at)
)
# All lanes as the runs have them.
_heads = select(*_KEY_OF_RUN, func.min(runs.c.sequence).label("head")).where(IS_READY).group_by(*_KEY_OF_RUN).subquery()
HEADS = select(*_heads.c, runs.c.created_at.label("since")).join(runs, runs.c.sequence == _heads.c.head)

# Whether any lane is not as the runs have them.
_seen = HEADS.subquery()
_same = and_(*(getattr(_seen.c, column.name) == column for column in _KEY))
_astray = select(_seen.c.head).select_from(_seen.outerjoin(lanes, _same)).where(lanes.c.head.is_distinct_from(_seen.c.head))
ASTRAY = select(_astray.exists())
CLEAR = delete(lanes)
FILL = insert(lanes).from_select([*(column.name for column in _KEY), "head", "since"], HEADS)


def join_from(new: CTE) -> CTE:
    """Return the part of a statement that takes the run of another part into its lane (PostgreSQL only)."""
    columns = (new.c.owner_id, new.c.priority_order, new.c.label_class, new.c.sequence, new.c.created_at)
    last = upsert(lanes).from_select([*(column.name for column in _KEY), "head", "since"], select(*columns))
    return _earlier_head(last).cte("joined")


def join(connection: Connection, run: AnyRow) -> None:
    """Take a run that is ready into its lane."""
    connection.execute(JOIN, {**_lane(run), "in_since": run.created_at})


def leave(connection: Connection, run: AnyRow) -> None:
    """Look for the next head of the lane if this run was the head; the run itself has left already."""
    connection.execute(LEAVE, _lane(run))


def moved(connection: Connection, before: Status, run: AnyRow) -> None:
    """Keep the lane right after a step of a run; `run` is its row after the step."""
    if before is Status.QUEUED:
        leave(connection, run)
    elif run.status == Status.QUEUED.value and run.not_before is None:
        join(connection, run)


def release(connection: Connection) -> None:
    """Let the runs in whose time has come. The caller holds the lock of all."""
    for run in connection.execute(RELEASE).all():
        join(connection, run)


def refill(connection: Connection) -> None:
    """Make all lanes anew from the runs. The caller holds the lock of all."""
    connection.execute(CLEAR)
    connection.execute(FILL)


def _lane(run: AnyRow) -> dict[str, object]:
    key = {"in_owner": run.owner_id, "in_band": run.priority_order, "in_class": run.label_class}
    return {**key, "in_sequence": run.sequence}


class Lanes:
    """The repair of the lanes."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def repair(self) -> bool:
        """Make the lanes anew if one is not as the runs have it, as after a process of an older version took a run in."""
        with reading(self._engine) as connection:
            if not connection.execute(ASTRAY).scalar_one():
                return False
        with begin(self._engine) as connection:
            counts.lock_all(connection)
            refill(connection)
        return True
