"""The order of the queue in SQL: what `app/domain/queue/fairshare.py` says of heads, said of the lanes and of all queued runs.

Contract tests hold both to the same order. Only lanes are looked at to find the next run; positions look at all queued runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.domain.queue.admission import Limits
from app.domain.queue.fairshare import BANDS, FRONT, Place, Share, charge, effective_band, virtual_time
from app.domain.queue.queue_positions import Owned, QueuePositions
from app.domain.runs.run import Run
from app.store.engine import db_now
from app.store.runs.rows import AnyRow, run_of
from app.store.schema.tables import IS_HELD_BACK, IS_QUEUED, IS_READY, QUEUED, lanes, runs, shares, tallies

# As good as no ageing, no limit, any time.
NEVER_S, NO_LIMIT, ALWAYS = 1e12, 2**31 - 1, 1e15

_owner, _group = tallies.alias("owner"), tallies.alias("of_group")
_THE_BAND = bindparam("in_band", type_=Integer())


class greatest(FunctionElement[int]):
    """The greater of two numbers."""

    type = BigInteger()
    inherit_cache = True


@compiles(greatest, "sqlite")
def _sqlite_greatest(element: greatest, compiler: SQLCompiler, **kw: Any) -> str:
    return f"max({compiler.process(element.clauses, **kw)})"


@compiles(greatest, "postgresql")
def _postgresql_greatest(element: greatest, compiler: SQLCompiler, **kw: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **kw)})"


# The time once for a whole statement: asked for in every row, it is most of what looking at many rows costs.
_NOW = select(db_now()).scalar_subquery()


def _effective(band: ColumnElement[int], since: ColumnElement[float]) -> ColumnElement[int]:
    aged = [case((and_(band >= step, since <= _NOW - bindparam("ageing_s") * step), 1), else_=0) for step in range(1, BANDS)]
    return band - sum(aged[1:], aged[0])


# The names of the scopes, as the domain has them.
_PARTY = case((_owner.c.group_name.is_(None), _owner.c.scope), else_=literal("group:") + _owner.c.group_name)
_PARTY_WEIGHT = case((_owner.c.group_name.is_(None), _owner.c.weight), else_=func.coalesce(_group.c.weight, 1))


def _with_owner(lane_or_run: Any) -> Any:
    return lane_or_run.join(_owner, _owner.c.scope == literal("owner:") + lane_or_run.c.owner_id).outerjoin(
        _group, _group.c.scope == literal("group:") + _owner.c.group_name
    )


def _share(column: str, scope: ColumnElement[Any], heads: Any = None) -> ColumnElement[int]:
    # A look-up each, not a join: whatever the planner believes of a table that grows and shrinks, it takes the key.
    found = select(shares.c[column]).where(shares.c.scope == scope, shares.c.band == _THE_BAND)
    correlated = found.correlate(heads) if heads is not None else found
    return func.coalesce(correlated.scalar_subquery(), 0)


def _held_up() -> ColumnElement[bool]:
    """A label of the lane's class is at its limit."""
    label = tallies.alias("label")
    full = and_(label.c.label_name.is_not(None), label.c.active >= label.c.max_active)
    return exists().where(full, lanes.c.label_class.contains(func.substr(label.c.scope, len("label:") + 1)))


def _in_band() -> ColumnElement[bool]:
    # The times are written into the statement: a plan that PostgreSQL makes once for all times expects a handful of lanes, and
    # looks at every owner for each.
    return or_(
        *(
            and_(
                lanes.c.priority_order == priority,
                lanes.c.since <= bindparam(f"until_{priority}", type_=Double(), literal_execute=True),
                lanes.c.since > bindparam(f"after_{priority}", type_=Double(), literal_execute=True),
            )
            for priority in range(FRONT, BANDS)
        )
    )


def _startable() -> Any:
    """The heads of one effective band that may start, each with what it competes as."""
    group_active = func.coalesce(_group.c.max_active, bindparam("group_active"))
    return (
        select(
            lanes.c.owner_id,
            lanes.c.priority_order,
            lanes.c.label_class,
            lanes.c.head,
            _THE_BAND.label("band"),
            _owner.c.group_name,
            _owner.c.weight,
            _PARTY.label("party"),
            _PARTY_WEIGHT.label("party_weight"),
        )
        .select_from(_with_owner(lanes))
        .where(
            lanes.c.head.is_not(None),
            _in_band(),
            _owner.c.active < func.coalesce(_owner.c.max_active, bindparam("owner_active")),
            or_(_owner.c.group_name.is_(None), _group.c.active < group_active),
            or_(lanes.c.label_class == "", ~_held_up()),
        )
        .subquery("startable")
    )


def _next() -> Select[tuple[Any, ...]]:
    startable = _startable()
    group = literal("group:") + startable.c.group_name + "/"
    alone = startable.c.group_name.is_(None)

    def in_group(share: ColumnElement[int]) -> ColumnElement[int]:
        return case((alone, 0), else_=share)

    stands = select(
        *startable.c,
        greatest(_share("come", startable.c.party, startable), _share("come", literal(virtual_time(None)))).label("party_come"),
        _share("turn", startable.c.party, startable).label("party_turn"),
        in_group(greatest(_share("come", group + startable.c.owner_id, startable), _share("come", group, startable))).label(
            "member_come"
        ),
        in_group(_share("turn", group + startable.c.owner_id, startable)).label("member_turn"),
    ).subquery("stands")
    within = func.row_number().over(
        partition_by=stands.c.party, order_by=(stands.c.member_come, stands.c.member_turn, stands.c.head)
    )
    stands = select(*stands.c, within.label("within"), _share("turn", literal(virtual_time(None))).label("turn")).subquery(
        "ranked"
    )
    first = (
        select(stands)
        .where(stands.c.within == 1)
        .order_by(stands.c.party_come, stands.c.party_turn, stands.c.head)
        .limit(1)
        .subquery("first")
    )
    of_lane = [column.label(f"lane_{column.name}") for column in first.c]
    of_run = and_(
        runs.c.sequence == first.c.head,
        IS_READY,
        runs.c.owner_id == first.c.owner_id,
        runs.c.priority_order == first.c.priority_order,
        runs.c.label_class == first.c.label_class,
    )
    return select(*runs.c, *of_lane, db_now().label("now")).select_from(first.outerjoin(runs, of_run))


# Since when the oldest head of each priority waits.
OLDEST = (
    select(lanes.c.priority_order, func.min(lanes.c.since).label("since"), db_now().label("now"))
    .where(lanes.c.head.is_not(None))
    .group_by(lanes.c.priority_order)
)

# The head of one effective band that is next among those that may start, with its run.
NEXT = _next()


# The queued runs of each owner in each effective band, counted in the index.
_counted = select(
    runs.c.owner_id,
    _effective(runs.c.priority_order, runs.c.created_at).label("band"),
    runs.c.sequence,
)
_all = union_all(_counted.where(IS_READY), _counted.where(IS_HELD_BACK)).subquery("queued")
_owned = (
    select(_all.c.owner_id, _all.c.band, func.count().label("queued"), func.min(_all.c.sequence).label("first"))
    .group_by(_all.c.owner_id, _all.c.band)
    .subquery("owned")
)
OWNED = (
    select(*_owned.c, _owner.c.group_name, _owner.c.weight, func.coalesce(_group.c.weight, 1).label("group_weight"))
    .join(_owner, _owner.c.scope == literal("owner:") + _owned.c.owner_id)
    .outerjoin(_group, _group.c.scope == literal("group:") + _owner.c.group_name)
)


def _save(count: int) -> Any:
    # Not VALUES with several rows: SQLAlchemy compiles those anew each time. SQLite wants a WHERE before ON CONFLICT.
    columns = (shares.c.scope, shares.c.band, shares.c.come, shares.c.turn)
    rows = [
        select(*(bindparam(f"{column.name}_{number}", type_=column.type) for column in columns)).where(true())
        for number in range(count)
    ]
    new = insert(shares).from_select([column.name for column in columns], union_all(*rows))
    keep = {"come": new.excluded.come, "turn": new.excluded.turn}
    return new.on_conflict_do_update(index_elements=[shares.c.scope, shares.c.band], set_=keep)


# What a dispatch changes of the shares.
SAVE = {count: _save(count) for count in (2, 4)}

# The group of an owner.
GROUP_OF = select(tallies.c.group_name).where(tallies.c.scope == bindparam("scope"))

# All shares.
SHARES = select(shares)

_BAND_OF_RUN = _effective(runs.c.priority_order, runs.c.created_at)

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


def positions(connection: Connection, ageing_s: float) -> QueuePositions:
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


def next_head(connection: Connection, limits: Limits) -> AnyRow | None:
    """Return the head that is next among those that may start, with its run; the run's columns are null when the lane is astray.

    The effective bands are looked into one after the other: mostly, all but the heads of the first are left alone.
    """
    oldest = connection.execute(OLDEST).all()
    bands: set[int] = set()
    for row in oldest:
        bands |= set(range(effective_band(row.priority_order, row.since, row.now, limits.ageing_s), row.priority_order + 1))
    given = {
        "owner_active": limits.owner_active,
        "group_active": NO_LIMIT if limits.group_active is None else limits.group_active,
    }
    for band in sorted(bands):
        values = {**given, "in_band": band, **_times(band, oldest[0].now, limits.ageing_s)}
        if (found := connection.execute(NEXT, values).one_or_none()) is not None:
            return found
    return None


def _times(band: int, now: float, ageing_s: float) -> dict[str, float]:
    """Return since when a head of each priority has waited that counts as one of the band."""
    step, times = ageing(ageing_s), {}
    for priority in range(FRONT, BANDS):
        steps = priority - band
        if FRONT in (band, priority):
            times[f"until_{priority}"] = ALWAYS if band == priority else -ALWAYS
            times[f"after_{priority}"] = -ALWAYS
            continue
        times[f"until_{priority}"] = ALWAYS if steps == 0 else now - step * steps if steps > 0 else -ALWAYS
        times[f"after_{priority}"] = -ALWAYS if band == 0 else now - step * (steps + 1)
    return times


def ageing(ageing_s: float) -> float:
    """Return the step of ageing as the statements take it."""
    return ageing_s if ageing_s > 0 else NEVER_S


def charges(row: AnyRow) -> Mapping[tuple[str, int], Share]:
    """Return the shares that the dispatch of the row of `NEXT` changes."""
    stands = Place(
        row.lane_band,
        Share(row.lane_party_come, row.lane_party_turn),
        Share(row.lane_member_come),
        row.lane_head,
    )
    weights = row.lane_party_weight, row.lane_weight
    return charge(row.lane_owner_id, row.lane_group_name, stands, row.lane_turn + 1, weights)


def write(connection: Connection, changed: Mapping[tuple[str, int], Share]) -> None:
    """Save shares: two, or four with those within a group. The caller holds the lock of all."""
    values: dict[str, object] = {}
    for number, ((scope, band), share) in enumerate(changed.items()):
        values |= {f"scope_{number}": scope, f"band_{number}": band, f"come_{number}": share.come, f"turn_{number}": share.turn}
    connection.execute(SAVE[len(changed)], values)
