"""The order of the queue: nothing starves, shares follow weights, bands are strict without ageing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.queue.fairshare import SCALE, Head, Share, choose, dispatch, effective_band, line_up

HOUR = 3240.0


@dataclass
class Queue:
    """A queue that is dispatched from, one run at a time."""

    weights: dict[str, int] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    ageing_s: float = 0.0
    now: float = 0.0
    queued: list[Head] = field(default_factory=list)
    shares: dict[tuple[str, int], Share] = field(default_factory=dict)
    submitted: int = 0

    def submit(self, owner: str, band: int = 2) -> Head:
        self.submitted += 1
        self.queued.append(Head(owner, self.groups.get(owner), band, self.now, self.submitted))
        return self.queued[-1]

    def submit_many(self, owner: str, count: int, band: int = 2) -> None:
        for _ in range(count):
            self.submit(owner, band)

    def weight(self, scope: str) -> int:
        return self.weights.get(scope, 1)

    def dispatch(self, blocked: tuple[str, ...] = ()) -> Head | None:
        head = choose([h for h in self.queued if h.owner not in blocked], self.shares, self.now, self.ageing_s)
        if head is not None:
            self.queued.remove(head)
            self.shares.update(dispatch(head, self.shares, self.weight, self.now, self.ageing_s))
        return head


OWNERS = st.sampled_from("abcde")
QUEUES = st.lists(st.tuples(OWNERS, st.integers(0, 4)), max_size=40)
HISTORY = st.lists(st.one_of(OWNERS, st.integers(1, 6)), max_size=30)


def lived(queue: Queue, history: list[str | int]) -> Queue:
    """The queue after a history of submissions (an owner's name) and dispatches (how many), emptied at its end."""
    for event in history:
        if isinstance(event, str):
            queue.submit(event)
        else:
            for _ in range(event):
                queue.dispatch()
    while queue.dispatch():
        pass
    return queue


def test_without_shares_to_tell_apart_the_order_is_that_of_submission():
    queue = Queue()
    order = [queue.submit(owner) for owner in "edcba"]
    assert [queue.dispatch() for _ in range(5)] == order
    assert queue.dispatch() is None


def test_one_owner_s_runs_start_in_the_order_of_submission_an_aged_one_too():
    queue = Queue(ageing_s=HOUR)
    old = queue.submit("a", band=3)
    queue.now = HOUR
    later = queue.submit("a", band=2)
    assert [queue.dispatch(), queue.dispatch()] == [old, later]
    assert Queue().submit("a", 3).band == 3


@settings(deadline=None)
@given(st.integers(0, 4), st.floats(0, 10 * HOUR))
def test_a_band_gets_one_better_for_each_step_of_waiting(band, waited):
    assert effective_band(band, 0.0, waited, HOUR) == max(0, band - int(waited // HOUR))
    assert effective_band(band, 0.0, waited, 0.0) == band


@settings(deadline=None)
@given(QUEUES, HISTORY)
def test_bands_are_strict_where_ageing_is_off(given, history):
    queue = lived(Queue(), history)
    for owner, band in given:
        queue.submit(owner, band)
    bands = [head.band for head in line_up(queue.queued, queue.shares, queue.weight, 1e9, 0.0)]
    assert bands == sorted(bands) and len(bands) == len(given)


@settings(deadline=None)
@given(HISTORY, st.integers(2, 4), st.integers(0, 12), st.integers(1, 20))
def test_equal_weights_give_equal_shares_within_one_run_in_every_interval(history, owners, start, length):
    queue = lived(Queue(), history)
    for name in "abcd"[:owners]:
        queue.submit_many(name, 32)
    started = [queue.dispatch().owner for _ in range(start + length)][start:]
    shares = [started.count(name) for name in "abcd"[:owners]]
    assert max(shares) - min(shares) <= 1


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), HISTORY)
def test_shares_follow_the_weights_within_one_run(one, other, history):
    queue = lived(Queue({"owner:a": one, "owner:b": other}), history)
    queue.submit_many("a", 100), queue.submit_many("b", 100)
    seen: Counter[str] = Counter()
    for number in range(1, 61):
        seen[queue.dispatch().owner] += 1
        for owner, weight in (("a", one), ("b", other)):
            assert abs(seen[owner] - number * weight / (one + other)) <= 1


@pytest.mark.parametrize("history", [0, 50])
def test_groups_share_first_and_their_owners_share_what_the_group_gets(history):
    groups = {"a": "red", "b": "red", "c": "blue"}
    queue = Queue({"group:red": 3, "owner:a": 2, "owner:d": 2}, groups)
    queue.submit_many("a", history)
    for _ in range(history):
        queue.dispatch()
    for owner in "abcd":
        queue.submit_many(owner, 240)
    seen = Counter(queue.dispatch().owner for _ in range(240))
    assert all(abs(seen[owner] - share) <= 1 for owner, share in zip("abcd", (80, 40, 40, 80), strict=True)), seen


def test_who_had_nothing_to_run_has_saved_nothing_up_and_who_was_held_back_makes_no_burst():
    queue = Queue()
    queue.submit_many("busy", 100)
    queue.submit_many("held", 50)
    assert {queue.dispatch(blocked=("held",)).owner for _ in range(50)} == {"busy"}
    queue.submit_many("idle", 50)
    first = [queue.dispatch().owner for _ in range(30)]
    assert max(Counter(first).values()) - min(Counter(first).values()) <= 1, first


def aged(queue: Queue, owner: str, band: int, ahead: int, arrivals: list[tuple[str, int]]) -> tuple[Head, int]:
    """Submit a run of the owner behind others and let it age; return it, and how many of the owner's precede it in its band."""
    for name, start in arrivals[:20]:
        queue.submit(name, start)
    queue.submit_many(owner, ahead, 0)
    run = queue.submit(owner, band)
    queue.now = band * HOUR
    mine = [h for h in queue.queued if h.owner == owner and h.sequence < run.sequence]
    before = sum(effective_band(h.band, h.since, queue.now, HOUR) == 0 for h in mine)
    return run, before


def must_start_within(bound: float, queue: Queue, run: Head, arrivals: list[tuple[str, int]]) -> None:
    """Dispatch until the run starts, while twice as many are submitted."""
    number, late = 1, cycle(arrivals)
    while queue.dispatch() != run:
        number += 1
        assert number <= bound
        for name, _ in (next(late), next(late)):
            queue.submit(name, 0)


@settings(deadline=None)
@given(
    st.dictionaries(OWNERS, st.integers(1, 4), min_size=2),
    st.integers(0, 4),
    st.integers(0, 5),
    HISTORY,
    st.lists(st.tuples(OWNERS, st.integers(0, 4)), min_size=40, max_size=40),
)
def test_nothing_starves_within_the_stated_bound(weights, band, ahead, history, arrivals):
    """Whatever is submitted meanwhile, a run of weight w of W starts within (k + 1) * W / w + n dispatches once it has aged."""
    owner = min(weights)
    queue = lived(Queue({f"owner:{name}": weight for name, weight in weights.items()}, ageing_s=HOUR), history)
    run, before = aged(queue, owner, band, ahead, arrivals)
    names = {name for name, _ in arrivals} | {owner}
    whole = sum(weights.get(name, 1) for name in names)
    bound = (before + 1) * whole / weights[owner] + len(names)
    must_start_within(bound, queue, run, arrivals)


GROUPS = st.dictionaries(OWNERS, st.sampled_from(["red", "blue"]), min_size=2)
WEIGHTS = st.dictionaries(st.sampled_from([*(f"owner:{name}" for name in "abcde"), "group:red", "group:blue"]), st.integers(1, 5))


def starts_within(queue: Queue, owner: str, before: int, names: set[str]) -> int:
    """The bound for a run of an owner in a group with `before` runs of the owner before it, when `names` take part."""
    group = queue.groups[owner]
    members = {f"owner:{name}" for name in names if queue.groups.get(name) == group}
    parties = {f"group:{queue.groups[name]}" if name in queue.groups else f"owner:{name}" for name in names}
    of_group = math.floor((before + 1) * sum(map(queue.weight, members)) / queue.weight(f"owner:{owner}") + len(members))
    return math.floor(of_group * sum(map(queue.weight, parties)) / queue.weight(f"group:{group}") + len(parties))


@settings(deadline=None, max_examples=100)
@given(
    GROUPS,
    WEIGHTS,
    st.integers(0, 4),
    st.integers(0, 5),
    HISTORY,
    st.lists(st.tuples(OWNERS, st.integers(0, 4)), min_size=40, max_size=40),
)
def test_nothing_starves_in_a_group_within_the_stated_bound(groups, weights, band, ahead, history, arrivals):
    """The bound of one level, twice: for the owner among the group's owners, and with that many of the group for the group."""
    owner = min(groups)
    queue = lived(Queue(weights, groups, ageing_s=HOUR), history)
    run, before = aged(queue, owner, band, ahead, arrivals)
    bound = starts_within(queue, owner, before, {name for name, _ in arrivals} | {owner})
    must_start_within(bound, queue, run, arrivals)


def test_the_bound_in_a_group_is_one_that_can_come_close():
    """Two busy owners in a light group beside heavy ones: the last of ten runs needs nearly what the bound allows."""
    groups = {"a": "red", "b": "red"}
    queue = Queue({"owner:b": 3, "owner:c": 4}, groups, ageing_s=HOUR)
    for owner in "abc":
        queue.submit_many(owner, 300, 0)
    last = [head for head in queue.queued if head.owner == "a"][9]
    started = next(number for number in range(1, 400) if queue.dispatch() == last)
    bound = starts_within(queue, "a", 9, {"a", "b", "c"})
    assert 0.8 * bound <= started <= bound, (started, bound)


def test_a_scale_that_divides_by_common_weights():
    assert all(SCALE % weight == 0 for weight in range(1, 21))
