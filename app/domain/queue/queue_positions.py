"""Where every queued run stands in the order in which runs start if nothing changes: the order of fairshare without the runs.

Each owner's runs stand `SCALE / weight` apart from where the owner has come, and so do each party's. So it is known from counts
alone how many runs start before one. Pure; a property test holds this to `fairshare.line_up`, which takes the runs one by one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from app.domain.queue.fairshare import SCALE, Share, Shares, member_of, party_of, virtual_time

Key: TypeAlias = tuple[int, bool, int, int, int, int]


class Owned(NamedTuple):
    """The queued runs of one owner in one effective band: how many, and the sequence of the first."""

    owner: str
    group: str | None
    band: int
    queued: int
    first: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Runs that stand `step` apart, beginning at `share.come`."""

    share: Share
    step: int
    count: int
    first: int

    def key(self, number: int) -> Key:
        """Return where the run of that number (from 0) stands.

        Equally far ones go by the last turn. For the first of a stream that is known; for each other it is where the one before
        stands: later than all turns so far, earlier the greater the step, and with equal steps later the more came before.
        """
        later = number > 0
        return (self.share.come + number * self.step, later, -self.step if later else 0, number, self.share.turn, self.first)

    def before(self, key: Key) -> int:
        """Return how many of its runs stand before the key."""
        count = min(max(-((self.share.come - key[0]) // self.step), 0), self.count)
        return count + 1 if count < self.count and self.key(count) < key else count


@dataclass(slots=True)
class _Party:
    stream: Stream
    members: dict[str, Stream]

    def taken(self) -> Iterator[tuple[str, int]]:
        """Yield (owner, number) in the order in which the members' runs start."""
        heads = [(stream.key(0), owner, 0) for owner, stream in self.members.items()]
        heapq.heapify(heads)
        while heads:
            _, owner, number = heads[0]
            yield owner, number
            following = number + 1
            if following < self.members[owner].count:
                heapq.heapreplace(heads, (self.members[owner].key(following), owner, following))
            else:
                heapq.heappop(heads)


class QueuePositions:
    """The order of all queued runs at one moment."""

    def __init__(self, queued: Iterable[Owned], shares: Shares, weight: Callable[[str], int]) -> None:
        """`weight` is of `owner:x` and `group:y`. What competes in a band is worked out when somebody asks for that band."""
        self._shares, self._weight = shares, weight
        self._queued: dict[int, list[Owned]] = defaultdict(list)
        for owned in queued:
            self._queued[owned.band].append(owned)
        self._known: dict[int, dict[str, _Party]] = {}
        self._lengths = {band: sum(owned.queued for owned in of_band) for band, of_band in self._queued.items()}

    @property
    def length(self) -> int:
        """How many runs are queued."""
        return sum(self._lengths.values())

    def position(self, owner: str, group: str | None, band: int, number: int) -> int:
        """Return the 1-based place of the owner's run that has `number` of the owner's runs before it in its effective band.

        0 when the owner had no run there.
        """
        parties = self._parties(band)
        own = parties.get(party_of(owner, group))
        if own is None or owner not in own.members:
            return 0
        key = own.members[owner].key(number)
        within = number + sum(member.before(key) for name, member in own.members.items() if name != owner)
        stands = own.stream.key(within)
        ahead = sum(length for other, length in self._lengths.items() if other < band)
        return 1 + ahead + within + sum(party.stream.before(stands) for party in parties.values() if party is not own)

    def first(self, limit: int) -> list[tuple[str, int, int]]:
        """Return the first runs in order: owner, effective band, number of the owner's runs before it there."""
        found: list[tuple[str, int, int]] = []
        for band in sorted(self._queued):
            for owner, number in self._taken(band):
                if len(found) == limit:
                    return found
                found.append((owner, band, number))
        return found

    def _parties(self, band: int) -> dict[str, _Party]:
        known = self._known.get(band)
        if known is None:
            members: dict[str, list[Owned]] = defaultdict(list)
            for owned in self._queued.get(band, ()):
                members[party_of(owned.owner, owned.group)].append(owned)
            known = {party: _party(band, party, of_party, self._shares, self._weight) for party, of_party in members.items()}
            self._known[band] = known
        return known

    def _taken(self, band: int) -> Iterator[tuple[str, int]]:
        parties = self._parties(band)
        runs = {name: party.taken() for name, party in parties.items()}
        heads = [(party.stream.key(0), name, 0) for name, party in parties.items()]
        heapq.heapify(heads)
        while heads:
            _, name, number = heads[0]
            yield next(runs[name])
            if number + 1 < parties[name].stream.count:
                heapq.heapreplace(heads, (parties[name].stream.key(number + 1), name, number + 1))
            else:
                heapq.heappop(heads)


def _party(band: int, party: str, owned: list[Owned], shares: Shares, weight: Callable[[str], int]) -> _Party:
    def share(scope: str, over: str) -> Share:
        own = shares.get((scope, band), Share())
        return Share(max(own.come, shares.get((over, band), Share()).come), own.turn)

    group = owned[0].group
    members = {
        each.owner: Stream(
            share(member_of(each.owner, group), virtual_time(group)) if group is not None else Share(),
            SCALE // weight(f"owner:{each.owner}"),
            each.queued,
            each.first,
        )
        for each in owned
    }
    first = min(members.values(), key=lambda member: member.key(0)).first
    stream = Stream(share(party, virtual_time(None)), SCALE // weight(party), sum(each.queued for each in owned), first)
    return _Party(stream, members)
