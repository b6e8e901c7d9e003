"""Places found from counts are the places that runs have when they are taken one by one."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.queue.fairshare import SCALE, Head, Share, line_up, member_of, party_of, virtual_time
from app.domain.queue.queue_positions import Owned, QueuePositions

GROUPS = {"a": "red", "b": "red", "c": "blue", "d": None, "e": None, "f": None}
OWNERS = st.sampled_from(sorted(GROUPS))
COMES = st.one_of(st.integers(0, 4).map(lambda halves: halves * SCALE // 2), st.integers(0, 3 * SCALE))
WEIGHTS = st.lists(st.sampled_from([1, 1, 2, 3]), min_size=8, max_size=8)
SCOPES = [party_of(owner, group) for owner, group in GROUPS.items()]
SCOPES += [member_of(owner, group) for owner, group in GROUPS.items() if group]
TIMES = [virtual_time(group) for group in (None, "red", "blue")]


@st.composite
def all_shares(draw):
    """Shares as dispatches leave them: no two last turns were one dispatch, except of a group and its owner."""
    turns = draw(st.permutations(range(len(SCOPES))))
    known = draw(st.lists(st.sampled_from(SCOPES), unique=True))
    shares = {
        (scope, band): Share(draw(COMES), 1 + turns[number])
        for band in (0, 1)
        for number, scope in enumerate(SCOPES)
        if scope in known
    }
    return shares | {(scope, band): Share(draw(COMES), 99) for scope in TIMES for band in (0, 1)}


@settings(deadline=None, max_examples=600)
@given(st.lists(st.tuples(OWNERS, st.integers(0, 1)), max_size=40), all_shares(), WEIGHTS)
def test_places_from_counts_are_the_places_of_runs_that_are_taken_one_by_one(queued, shares, weights):
    names = [*(f"owner:{owner}" for owner in GROUPS), "group:red", "group:blue"]
    weight = dict(zip(names, weights, strict=True)).__getitem__
    heads = [Head(owner, GROUPS[owner], band, 0.0, number) for number, (owner, band) in enumerate(queued, 1)]
    order = line_up(heads, shares, weight, 0.0, 0.0)
    numbers: Counter[tuple[str, int]] = Counter()
    firsts: dict[tuple[str, int], int] = {}
    place_of = {head: place for place, head in enumerate(order, 1)}
    places = []
    for head in heads:
        stream = (head.owner, head.band)
        firsts.setdefault(stream, head.sequence)
        places.append((place_of[head], *stream, numbers[stream]))
        numbers[stream] += 1
    owned = [Owned(owner, GROUPS[owner], band, numbers[owner, band], first) for (owner, band), first in firsts.items()]
    positions = QueuePositions(owned, shares, weight)
    assert [positions.position(owner, GROUPS[owner], band, number) for _, owner, band, number in places] == [p[0] for p in places]
    in_order = [(owner, band, number) for _, owner, band, number in sorted(places)]
    assert positions.first(100) == in_order and positions.first(3) == in_order[:3]
