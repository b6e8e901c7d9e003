"""Where queued runs stand in SQL: what `app/domain/queue/queue_positions.py` needs, read from all queued runs.

Contract tests hold this to the order in which `order.next_head` finds them. It costs a look at the whole queue.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, literal, select, union_all

from app.domain.queue.fairshare import BANDS, Share
from app.domain.queue.queue_positions import Owned, QueuePositions
from app.domain.runs.run import Run
from app.store.engine import db_now
from app.store.queue.order import ageing
from app.store.runs.rows import run_of
from app.store.schema.queue_tables import shares, tallies
from app.store.schema.tables import IS_HELD_BACK, IS_QUEUED, IS_READY, QUEUED, runs

_owner, _group = tallies.alias("owner"), tallies.alias("of_group")

# The time once for a whole statement: asked for in every row, it is most of what looking at many rows costs.
_NOW = select(db_now()).scalar_subquery()


def _effective(band: ColumnElement[int], since: ColumnElement[float]) -> ColumnElement[int]:
    aged = [case((and_(band >= step, since <= _NOW - bindparam("ageing_s") * step), 1), else_=0) for step in range(1, BANDS)]
    return band - sum(aged[1:], aged[0])


_BAND_OF_RUN = _effective(runs.c.priority_order, runs.c.created_at)

# Every queued run with its effective band: those that may start now, and those that are held back for a while.
_run = select(runs.c.owner_id, _BAND_OF_RUN.label("band"), runs.c.sequence)
_queued = union_all(_run.where(IS_READY), _run.where(IS_HELD_BACK)).cte("queued")

# The queued runs of each owner in each effective band: how many, and the first.
_owned = (
    select(_queued.c.owner_id, _queued.c.band, func.count().label("queued"), func.min(_queued.c.sequence).label("first"))
    .group_by(_queued.c.owner_id, _queued.c.band)
    .cte("owned")
)

# The same with the owner's group and the weights of both.
OWNED = (
    select(*_owned.c, _owner.c.group_name, _owner.c.weight, func.coalesce(_group.c.weight, 1).label("group_weight"))
    .join(_owner, _owner.c.scope == literal("owner:") + _owned.c.owner_id)
    .outerjoin(_group, _group.c.scope == literal("group:") + _owner.c.group_name)
)

# All shares.
SHARES = select(shares)

# The group of an owner.
GROUP_OF = select(tallies.c.group_name).where(tallies.c.scope == bindparam("scope"))

# Where a queued run stands among its owner's: its effective band, and how many are before it there.
_one, _own_before = runs.alias("one"), runs.alias("own_before")
_band_of_one = _effective(_one.c.priority_order, _one.c.created_at)

AMONG_OWN = select(
    _band_of_one.label("band"),
    _owner.c.group_name,
    select(func.count())
    .where(
        _own_before.c.status == QUEUED,
        _own_before.c.owner_id == _one.c.owner_id,
        _own_before.c.sequence < _one.c.sequence,
        _effective(_own_before.c.priority_order, _own_before.c.created_at) == _band_of_one,
    )
    .scalar_subquery()
    .label("number"),
).where(_one.c.id == bindparam("run"), _one.c.status == QUEUED, _owner.c.scope == literal("owner:") + _one.c.owner_id)

# The first queued runs of an owner, or of one of the owner's effective bands, in the order in which they start.
FIRST_OF_OWNER = (
    select(*runs.c, _BAND_OF_RUN.label("band"))
    .where(IS_QUEUED, runs.c.owner_id == bindparam("of_owner"))
    .order_by(_BAND_OF_RUN, runs.c.sequence)
    .limit(bindparam("at_most"))
)
FIRST_OF_BAND = FIRST_OF_OWNER.where(bindparam("of_band") == _BAND_OF_RUN)


def read(connection: Connection, ageing_s: float) -> QueuePositions:
    """Return the order of all queued runs."""
    rows = connection.execute(OWNED, {"ageing_s": ageing(ageing_s)}).all()
    weights = {f"owner:{row.owner_id}": row.weight for row in rows}
    weights |= {f"group:{row.group_name}": row.group_weight for row in rows if row.group_name is not None}
    known = {(row.scope, row.band): Share(row.come, row.turn) for row in connection.execute(SHARES)}
    owned = [Owned(row.owner_id, row.group_name, row.band, row.queued, row.first) for row in rows]
    return QueuePositions(owned, known, weights.__getitem__)


def first_of_owner(
    connection: Connection, positions: QueuePositions, owner_id: str, limit: int, ageing_s: float
) -> list[tuple[int, Run]]:
    """Return the owner's first queued runs with their places."""
    values = {"of_owner": owner_id, "at_most": limit, "ageing_s": ageing(ageing_s)}
    numbers: Counter[int] = Counter()
    group = connection.execute(GROUP_OF, {"scope": f"owner:{owner_id}"}).scalar_one_or_none()
    found = []
    for row in connection.execute(FIRST_OF_OWNER, values):
        found.append((positions.position(owner_id, group, row.band, numbers[row.band]), run_of(row)))
        numbers[row.band] += 1
    return found


def first_of_all(connection: Connection, positions: QueuePositions, limit: int, ageing_s: float) -> list[tuple[int, Run]]:
    """Return the first queued runs with their places."""
    first = positions.first(limit)
    wanted = Counter((owner, band) for owner, band, _ in first)
    runs_of: dict[tuple[str, int, int], Run] = {}
    for (owner, band), count in wanted.items():
        values = {"of_owner": owner, "of_band": band, "at_most": count, "ageing_s": ageing(ageing_s)}
        for number, row in enumerate(connection.execute(FIRST_OF_BAND, values)):
            runs_of[owner, band, number] = run_of(row)
    return [(place, runs_of[stands]) for place, stands in enumerate(first, 1) if stands in runs_of]
