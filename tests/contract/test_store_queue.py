"""The queue: who starts next, exactly once, and what the position says."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from app.domain.errors import Conflict, NotFound, RunEnded
from app.domain.queue.admission import Counts, Limits
from app.domain.runs.lifecycle import Step
from app.domain.runs.run import Priority, Run, Status


def drain(house, limits=None):
    """Dispatch until nothing is left, ending each run at once; return the ids in the order of their start."""
    order = []
    while run := house.store.queue.dispatch_next(limits or house.limits):
        order.append(run.id)
        house.ended(run, Status.FAILED)
    return order


@pytest.mark.trap("C5", "C6", "C18", "C20")
def test_positions_are_the_order_in_which_runs_start(house):
    dice = random.Random(7)
    queued = [house.queued(dice.choice([house.ann, house.bob]), dice.choice(list(Priority))) for _ in range(30)]
    moved = house.store.queue_admin.set_priority(queued[12].id, Priority.CRITICAL, house.root)
    assert moved.priority is Priority.CRITICAL and moved.sequence == queued[12].sequence
    fresh = [house.store.runs.get(run.id) for run in queued]
    by_position = [run.id for run in sorted(fresh, key=house.store.queue.position)]
    assert [(place, house.store.queue.position(run)) for place, run in house.store.queue.first(100)] == [
        (n, n) for n in range(1, 31)
    ]
    assert [run.id for _, run in house.store.queue.first(5)] == by_position[:5]
    theirs = [(place, run.id) for place, run in house.store.queue.first(3, house.bob.id)]
    assert theirs == [pair for pair in enumerate(by_position, 1) if house.store.runs.get(pair[1]).owner_id == house.bob.id][:3]
    assert drain(house) == by_position
    assert house.counts() == ((0, 0, 0), (0, 0, 0))


@pytest.mark.trap("C6")
def test_equal_priorities_start_in_the_order_of_submission(house):
    assert [house.queued().id for _ in range(20)] == drain(house)


@pytest.mark.trap("C13", "R1")
def test_many_dispatchers_start_each_run_once_and_no_more_than_there_are_places(house, other_house, at_once):
    queued = [house.queued(owner) for owner in (house.ann, house.bob) for _ in range(8)]
    limits = Limits(owner_active=5, active=8)
    started = at_once(*(lambda h=h: h.store.queue.dispatch_next(limits) for h in (house, other_house) * 12))
    runs = [r for r in started if isinstance(r, Run)]
    assert [r for r in started if r is not None and not isinstance(r, Run)] == []
    assert len({run.id for run in runs}) == len(runs) == 8
    assert {run.id for run in runs} <= {run.id for run in queued}
    assert house.counts()[1] == (8, 8, 0)
    assert house.counts()[0] == (4, 4, 0), "they took turns"
    assert all(run.status is Status.STARTING and run.dispatched_at for run in runs)
    house.ended(runs[0])
    assert house.store.queue.dispatch_next(limits), "a freed place is taken"
    assert house.store.queue.dispatch_next(limits) is None


def test_an_owner_without_a_place_keeps_nobody_waiting(house):
    limits = Limits(owner_active=1)
    first, _, third = house.queued(), house.queued(), house.queued(house.bob, Priority.BACKGROUND)
    assert [house.store.queue.dispatch_next(limits).id for _ in range(2)] == [first.id, third.id]
    assert house.store.queue.dispatch_next(limits) is None


def test_a_waiting_run_leaves_its_place_to_another(house):
    limits = Limits(active=1)
    run = house.running()
    second = house.queued()
    assert house.store.queue.dispatch_next(limits) is None
    waiting = house.step(run, Step.WAIT)
    assert house.store.counts.of_owner(house.ann.id) == (Counts(1, 0, 1), Counts(1, 0, 1))
    assert house.store.queue.dispatch_next(limits).id == second.id
    resumed = house.step(waiting, Step.RESUME)
    assert house.counts() == ((0, 2, 0), (0, 2, 0))
    assert resumed.deadline_at >= run.deadline_at


def test_priority_changes_only_in_the_queue(house):
    run = house.claimed()
    with pytest.raises(Conflict) as left:
        house.store.queue_admin.set_priority(run.id, Priority.HIGH, house.root)
    assert left.value.code == "conflict"
    house.ended(run)
    with pytest.raises(RunEnded):
        house.store.queue_admin.set_priority(run.id, Priority.HIGH, house.root)
    with pytest.raises(NotFound):
        house.store.queue_admin.set_priority("nobody", Priority.HIGH, house.root)


@pytest.mark.trap("C11")
def test_runs_whose_queue_timeout_is_over_are_found(house):
    late, _ = house.queued(queue_timeout_s=-1.0), house.queued()
    assert [run.id for run in house.store.queue.overdue(10)] == [late.id]
    house.ended(late, Status.EXPIRED)
    assert house.store.queue.overdue(10) == []


@pytest.mark.trap("C15")
def test_cancelling_in_the_queue_races_with_dispatch_and_one_wins(house, other_house, at_once):
    for _ in range(15):
        run = house.queued()
        outcomes = at_once(
            lambda run=run: house.ended(run, Status.CANCELLED), lambda: other_house.store.queue.dispatch_next(house.limits)
        )
        stored = house.store.runs.get(run.id)
        if stored.status is Status.CANCELLED:
            assert outcomes[1] is None
        else:
            assert outcomes[0].code == "fenced" and outcomes[1].id == run.id
            house.ended(stored, Status.CANCELLED)
        assert house.counts() == ((0, 0, 0), (0, 0, 0))


def test_limits_of_a_smaller_configuration_hold_at_once(house):
    for _ in range(3):
        house.queued()
    assert house.store.queue.dispatch_next(house.limits)
    assert replace(house, limits=Limits(active=1)).store.queue.dispatch_next(Limits(active=1)) is None
