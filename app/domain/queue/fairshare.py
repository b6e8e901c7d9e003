"""Who is next: the one definition of the order in which queued runs start. Pure; `app/store/queue/lanes.py` says the same in SQL.

The order is: effective band, then fair shares between groups (an owner without one stands alone), then fair shares between the
owners of a group, then submission. Shares are start-time fair queueing (Goyal, Vin, Cheng 1996) with every run of one size: who
is dispatched moves ahead by SCALE / weight, who is least far ahead is next. The *virtual time* is how far the last dispatched
one had come; nobody counts as being behind it, so who had nothing to run has saved nothing up, and who was held back makes no
burst. Of those who have come equally far, the one whose last turn is longest ago is next, then whose run was submitted first.

Nothing starves. Let a run have waited until its effective band is 0, with k runs of its owner before it there. If its owner has
the weight w of W in all, over n owners that take part, it starts within (k + 1) * W / w + n dispatches. In a group of the weight
g of G, over p groups and lone owners, the same holds twice: with w, W and n of the group's owners it starts within the first
q = floor((k + 1) * W / w + n) dispatches of the group, and so within q * G / g + p of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

BANDS = 5
# Before all bands, for runs that an admin moved there; nothing ages into it.
FRONT = -1
MAX_WEIGHT = 1_000
# How far one dispatch moves a weight of 1: divisible by 1 to 20, and far from where a 64-bit number ends.
SCALE = 232_792_560


class Share(NamedTuple):
    """How far a scope has come in an effective band, and the number of the dispatch in that band that was its last turn."""

    come: int = 0
    turn: int = 0


# The share of each (scope, effective band); absent is nothing.
Shares = Mapping[tuple[str, int], Share]


@dataclass(frozen=True, slots=True)
class Head:
    """A queued run as the rule sees it. `since` is when it was submitted, `sequence` its number among all submissions."""

    owner: str
    group: str | None
    band: int
    since: float
    sequence: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a head stands: the band that counts, how far its party (group or lone owner) and its owner within that have come."""

    band: int
    party: Share
    member: Share
    sequence: int


def effective_band(band: int, since: float, now: float, ageing_s: float) -> int:
    """Return the band that counts: one better for each `ageing_s` seconds of waiting. 0 = no ageing: bands are strict."""
    if ageing_s <= 0:
        return band
    return band - sum(since <= now - ageing_s * step for step in range(1, band + 1))


def party_of(owner: str, group: str | None) -> str:
    """Return the scope that competes with all others: the group, or an owner without one."""
    return f"owner:{owner}" if group is None else f"group:{group}"


def member_of(owner: str, group: str) -> str:
    """Return the scope of an owner within a group. Another group is another scope: what is owed is not taken along."""
    return f"group:{group}/{owner}"


def virtual_time(group: str | None) -> str:
    """Return the scope under which the virtual time between parties, or between the owners of a group, is kept."""
    return "all" if group is None else f"group:{group}/"


def place(head: Head, shares: Shares, now: float, ageing_s: float) -> Place:
    """Return where the head stands. A lone owner competes on the level of groups only."""
    band = effective_band(head.band, head.since, now, ageing_s)

    def stands(scope: str, over: str) -> Share:
        own, others = shares.get((scope, band), Share()), shares.get((over, band), Share())
        return Share(max(own.come, others.come), own.turn)

    party = stands(party_of(head.owner, head.group), virtual_time(None))
    member = stands(member_of(head.owner, head.group), virtual_time(head.group)) if head.group is not None else Share()
    return Place(band, party, member, head.sequence)


def choose(heads: Iterable[Head], shares: Shares, now: float, ageing_s: float) -> Head | None:
    """Return the head that is next: the best of each party, then the best of those."""
    best: dict[tuple[str, int], tuple[Place, Head]] = {}
    for head in heads:
        stands = place(head, shares, now, ageing_s)
        party = (party_of(head.owner, head.group), stands.band)
        if party not in best or _within(stands) < _within(best[party][0]):
            best[party] = (stands, head)
    return min(best.values(), key=lambda pair: _between(pair[0]))[1] if best else None


def _within(stands: Place) -> tuple[Share, int]:
    return stands.member, stands.sequence


def _between(stands: Place) -> tuple[int, Share, int]:
    return stands.band, stands.party, stands.sequence


def charge(owner: str, group: str | None, stands: Place, turn: int, weights: tuple[int, int]) -> dict[tuple[str, int], Share]:
    """Return the shares that a dispatch from `stands` changes. `turn` is its number in the band, `weights` are the party's and
    the owner's.
    """
    band, (party, member) = stands.band, weights
    moved = {
        (virtual_time(None), band): Share(stands.party.come, turn),
        (party_of(owner, group), band): Share(stands.party.come + SCALE // party, turn),
    }
    if group is not None:
        moved[virtual_time(group), band] = Share(stands.member.come, turn)
        moved[member_of(owner, group), band] = Share(stands.member.come + SCALE // member, turn)
    return moved


def dispatch(
    head: Head, shares: Shares, weight: Callable[[str], int], now: float, ageing_s: float
) -> dict[tuple[str, int], Share]:
    """Return the shares that the head's dispatch changes. `weight` is of `owner:x` and `group:y`."""
    stands = place(head, shares, now, ageing_s)
    turn = shares.get((virtual_time(None), stands.band), Share()).turn + 1
    weights = weight(party_of(head.owner, head.group)), weight(f"owner:{head.owner}")
    return charge(head.owner, head.group, stands, turn, weights)


def line_up(queued: Iterable[Head], shares: Shares, weight: Callable[[str], int], now: float, ageing_s: float) -> list[Head]:
    """Return all queued runs in the order in which they start when nothing changes."""
    left, shares, order = sorted(queued, key=lambda head: head.sequence), dict(shares), []
    while (head := choose(left, shares, now, ageing_s)) is not None:
        left.remove(head)
        order.append(head)
        shares.update(dispatch(head, shares, weight, now, ageing_s))
    return order
