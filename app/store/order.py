"""The order of the queue in SQL: what `app/domain/fairshare.py` says of heads, said of the lanes and of all queued runs.

Contract tests hold both to the same order. Only lanes are looked at to find the next run; positions look at all queued runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from app.domain.fairshare import BANDS, SCALE, Place, Share, charge, virtual_time
from app.store.engine import db_now
from app.store.rows import AnyRow
from app.store.tables import IS_QUEUED, lanes, runs, shares, tallies

# As good as no ageing.
NEVER_S = 1e12

_owner, _group = tallies.alias("owner"), tallies.alias("of_group")
_party_share, _member_share = shares.alias("party_share"), shares.alias("member_share")
_party_time, _member_time = shares.alias("party_time"), shares.alias("member_time")


def _effective(band: ColumnElement[int], since: ColumnElement[float]) -> ColumnElement[int]:
    aged = [case((and_(band >= step, since <= db_now() - bindparam("ageing_s") * step), 1), else_=0) for step in range(1, BANDS)]
    return band - sum(aged[1:], aged[0])


def _greater(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[int]:
    return case((func.coalesce(one, 0) > func.coalesce(other, 0), one), else_=func.coalesce(other, 0))


# The names of the scopes, as the domain has them.
_PARTY = case((_owner.c.group_name.is_(None), _owner.c.scope), else_=literal("group:") + _owner.c.group_name)
_PARTY_WEIGHT = case((_owner.c.group_name.is_(None), _owner.c.weight), else_=func.coalesce(_group.c.weight, 1))


def _with_owner(lane_or_run: Any) -> Any:
    return lane_or_run.join(_owner, _owner.c.scope == literal("owner:") + lane_or_run.c.owner_id).outerjoin(
        _group, _group.c.scope == literal("group:") + _owner.c.group_name
    )


def _with_shares(heads: Any) -> Any:
    """Join how far each head's party, and its owner within a group, have come in the head's effective band."""
    in_group = literal("group:") + heads.c.group_name + "/"
    pairs = (
        (_party_share, heads.c.party),
        (_party_time, literal(virtual_time(None))),
        (_member_share, in_group + heads.c.owner_id),
        (_member_time, in_group),
    )
    joined = heads
    for share, scope in pairs:
        joined = joined.outerjoin(share, and_(share.c.scope == scope, share.c.band == heads.c.band))
    return joined


_PARTY_COME = _greater(_party_share.c.come, _party_time.c.come)
_MEMBER_COME = _greater(_member_share.c.come, _member_time.c.come)
_PARTY_TURN = func.coalesce(_party_share.c.turn, 0)
_MEMBER_TURN = func.coalesce(_member_share.c.turn, 0)


def _held_up() -> ColumnElement[bool]:
    """A label of the lane's class is at its limit."""
    label = tallies.alias("label")
    full = and_(label.c.label_name.is_not(None), label.c.active >= label.c.max_active)
    return exists().where(full, lanes.c.label_class.contains(func.substr(label.c.scope, len("label:") + 1)))


def _startable() -> CTE:
    """The heads that may start, each with its effective band and what it competes as."""
    group_active = func.coalesce(_group.c.max_active, bindparam("group_active"))
    return (
        select(
            lanes.c.owner_id,
            lanes.c.priority_order,
            lanes.c.label_class,
            lanes.c.head,
            _effective(lanes.c.priority_order, lanes.c.since).label("band"),
            _owner.c.group_name,
            _owner.c.weight,
            _PARTY.label("party"),
            _PARTY_WEIGHT.label("party_weight"),
        )
        .select_from(_with_owner(lanes))
        .where(
            lanes.c.head.is_not(None),
            _owner.c.active < func.coalesce(_owner.c.max_active, bindparam("owner_active")),
            or_(_owner.c.group_name.is_(None), _group.c.active < group_active),
            or_(lanes.c.label_class == "", ~_held_up()),
        )
        .cte("startable")
    )


def _next() -> Select[tuple[Any, ...]]:
    startable = _startable()
    best = select(func.min(startable.c.band)).scalar_subquery()
    within = func.row_number().over(partition_by=startable.c.party, order_by=(_MEMBER_COME, _MEMBER_TURN, startable.c.head))
    stands = (
        select(
            *startable.c,
            _PARTY_COME.label("party_come"),
            _PARTY_TURN.label("party_turn"),
            _MEMBER_COME.label("member_come"),
            func.coalesce(_party_time.c.turn, 0).label("turn"),
            within.label("within"),
        )
        .select_from(_with_shares(startable))
        .where(startable.c.band == best)
        .subquery("stands")
    )
    first = (
        select(stands)
        .where(stands.c.within == 1)
        .order_by(stands.c.party_come, stands.c.party_turn, stands.c.head)
        .limit(1)
        .subquery("first")
    )
    of_lane = [column.label(f"lane_{column.name}") for column in first.c]
    return select(*runs.c, *of_lane, db_now().label("now")).select_from(
        first.outerjoin(
            runs,
            and_(
                runs.c.sequence == first.c.head,
                IS_QUEUED,
                runs.c.not_before.is_(None),
                runs.c.owner_id == first.c.owner_id,
                runs.c.priority_order == first.c.priority_order,
                runs.c.label_class == first.c.label_class,
            ),
        )
    )


# The head that is next among those that may start, with its run; the run's columns are null when the lane is astray.
NEXT = _next()


def _queued() -> Any:
    return (
        select(
            runs.c.sequence,
            runs.c.owner_id,
            _effective(runs.c.priority_order, runs.c.created_at).label("band"),
            _owner.c.group_name,
            _PARTY.label("party"),
            (literal(SCALE) // _owner.c.weight).label("member_step"),
            (literal(SCALE) // _PARTY_WEIGHT).label("party_step"),
        )
        .select_from(_with_owner(runs))
        .where(IS_QUEUED)
        .subquery("queued")
    )


def _by_share(
    come: ColumnElement[int],
    step: ColumnElement[int],
    number: ColumnElement[int],
    turn: ColumnElement[int],
    first: ColumnElement[int],
) -> tuple[ColumnElement[Any], ...]:
    """Order by how far each run of a stream stands: they are `step` apart from where the stream has come.

    Equally far ones go by the last turn. For the first of a stream that is known; for each other it is where the one before
    stands: later than all turns so far, earlier the greater the step, and with equal steps later the more came before.
    """
    later = case((number > 0, 1), else_=0)
    return come + number * step, later, -later * step, number, turn, first


def _line() -> Select[tuple[Any, ...]]:
    queued = _queued()
    of_owner: dict[str, Any] = {"partition_by": (queued.c.owner_id, queued.c.band)}
    owners = (
        select(
            *queued.c,
            _PARTY_COME.label("party_come"),
            _PARTY_TURN.label("party_turn"),
            _MEMBER_COME.label("member_come"),
            _MEMBER_TURN.label("member_turn"),
            (func.row_number().over(**of_owner, order_by=queued.c.sequence) - 1).label("number"),
            func.min(queued.c.sequence).over(**of_owner).label("first"),
        )
        .select_from(_with_shares(queued))
        .subquery("owners")
    )
    of_party: dict[str, Any] = {
        "partition_by": (owners.c.party, owners.c.band),
        "order_by": _by_share(owners.c.member_come, owners.c.member_step, owners.c.number, owners.c.member_turn, owners.c.first),
    }
    parties = select(
        *(owners.c[name] for name in ("sequence", "owner_id", "band", "party_come", "party_step", "party_turn")),
        (func.row_number().over(**of_party) - 1).label("number"),
        func.first_value(owners.c.sequence).over(**of_party).label("first"),
    ).subquery("parties")
    order = (
        parties.c.band,
        *_by_share(parties.c.party_come, parties.c.party_step, parties.c.number, parties.c.party_turn, parties.c.first),
    )
    return select(parties.c.sequence, parties.c.owner_id, func.row_number().over(order_by=order).label("position"))


_LINE = _line().subquery("line")

# The place of a run in the order in which all queued runs start if nothing changes.
POSITION = select(_LINE.c.position).where(_LINE.c.sequence == bindparam("of_sequence"))

# The first queued runs in that order.
LINE = (
    select(*runs.c, _LINE.c.position)
    .join(_LINE, _LINE.c.sequence == runs.c.sequence)
    .where(_LINE.c.position <= bindparam("at_most"))
    .order_by(_LINE.c.position)
)

# The first queued runs of one owner in that order.
LINE_OF_OWNER = (
    select(*runs.c, _LINE.c.position)
    .join(_LINE, _LINE.c.sequence == runs.c.sequence)
    .where(_LINE.c.owner_id == bindparam("of_owner"))
    .order_by(_LINE.c.position)
    .limit(bindparam("at_most"))
)


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
    """Save shares. The caller holds the lock of all."""
    rows = [{"scope": scope, "band": band, "come": share.come, "turn": share.turn} for (scope, band), share in changed.items()]
    new = insert(shares).values(rows)
    keep = {"come": new.excluded.come, "turn": new.excluded.turn}
    connection.execute(new.on_conflict_do_update(index_elements=[shares.c.scope, shares.c.band], set_=keep))
