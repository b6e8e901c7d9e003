"""The order of the queue in SQL: what `app/domain/queue/fairshare.py` says of heads, said of the lanes.

Contract tests hold both to the same order. Only lanes are looked at to find the next run. Every part of a long statement is a CTE
that is used once, so that both databases plan it as they would a subquery; a comment says what its rows are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    CTE,
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
from app.store.engine import db_now
from app.store.runs.rows import AnyRow
from app.store.schema.queue_tables import lanes, shares, tallies
from app.store.schema.tables import IS_READY, runs

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


def _startable() -> CTE:
    group_active = func.coalesce(_group.c.max_active, bindparam("group_active"))
    # The heads of one effective band that may start, each with its owner, and with the party that it competes for.
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
        .cte("startable")
    )


def _placed(startable: CTE) -> CTE:
    group = literal("group:") + startable.c.group_name + "/"
    alone = startable.c.group_name.is_(None)

    def in_group(share: ColumnElement[int]) -> ColumnElement[int]:
        return case((alone, 0), else_=share)

    # The same heads, each with how far its party has come, and its owner within the group (0 without a group).
    return select(
        *startable.c,
        greatest(_share("come", startable.c.party, startable), _share("come", literal(virtual_time(None)))).label("party_come"),
        _share("turn", startable.c.party, startable).label("party_turn"),
        in_group(greatest(_share("come", group + startable.c.owner_id, startable), _share("come", group, startable))).label(
            "member_come"
        ),
        in_group(_share("turn", group + startable.c.owner_id, startable)).label("member_turn"),
    ).cte("placed")


def _best(placed: CTE) -> CTE:
    within = func.row_number().over(
        partition_by=placed.c.party, order_by=(placed.c.member_come, placed.c.member_turn, placed.c.head)
    )
    # The same heads, numbered in their party's order from 1, each with the number of the last turn.
    ranked = select(*placed.c, within.label("within"), _share("turn", literal(virtual_time(None))).label("turn")).cte("ranked")
    # One row: of the first heads of all parties, that of the party which has come least far.
    return (
        select(ranked)
        .where(ranked.c.within == 1)
        .order_by(ranked.c.party_come, ranked.c.party_turn, ranked.c.head)
        .limit(1)
        .cte("best")
    )


def _next() -> Select[tuple[Any, ...]]:
    best = _best(_placed(_startable()))
    of_lane = [column.label(f"lane_{column.name}") for column in best.c]
    of_run = and_(
        runs.c.sequence == best.c.head,
        IS_READY,
        runs.c.owner_id == best.c.owner_id,
        runs.c.priority_order == best.c.priority_order,
        runs.c.label_class == best.c.label_class,
    )
    return select(*runs.c, *of_lane, db_now().label("now")).select_from(best.outerjoin(runs, of_run))


# Since when the oldest head of each priority waits.
OLDEST = (
    select(lanes.c.priority_order, func.min(lanes.c.since).label("since"), db_now().label("now"))
    .where(lanes.c.head.is_not(None))
    .group_by(lanes.c.priority_order)
)

# The head of one effective band that is next among those that may start, with its run.
NEXT = _next()


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
