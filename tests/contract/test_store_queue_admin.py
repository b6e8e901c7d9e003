"""Steering the queue: the front, pause and close, each exact and on record."""

from __future__ import annotations

import pytest

from app.domain.audit import Action
from app.domain.errors import Conflict, NotFound, QueueClosed
from app.domain.queue.admission import Limits
from app.domain.queue.limits import Scope, ScopeLimits
from app.domain.runs.run import Priority


def test_a_run_at_the_front_starts_before_all_others_and_keeps_its_priority(house):
    urgent = [house.queued(house.ann, Priority.CRITICAL) for _ in range(3)]
    late = house.queued(house.bob, Priority.BACKGROUND)
    moved = house.store.queue_admin.move_to_front(late.id, house.root)
    assert moved.in_front and moved.priority is Priority.BACKGROUND
    assert house.store.queue.position(moved) == 1 and [house.store.queue.position(run) for run in urgent] == [2, 3, 4]
    assert [run.id for _, run in house.store.queue.first(10)] == [late.id, *(run.id for run in urgent)]
    assert house.store.queue.dispatch_next(house.limits).id == late.id
    assert house.store.queue.dispatch_next(house.limits).id == urgent[0].id


def test_the_front_is_before_the_aged_too(house):
    first, second = house.queued(house.ann, Priority.CRITICAL), house.queued(house.bob, Priority.LOW)
    house.store.queue_admin.move_to_front(second.id, house.root)
    assert house.store.queue.dispatch_next(Limits(ageing_s=0.001)).id == second.id
    assert house.store.queue.dispatch_next(Limits(ageing_s=0.001)).id == first.id


def test_another_priority_takes_a_run_from_the_front(house):
    one, other = house.queued(), house.queued()
    house.store.queue_admin.move_to_front(other.id, house.root)
    back = house.store.queue_admin.set_priority(other.id, Priority.LOW, house.root)
    assert not back.in_front and back.priority is Priority.LOW
    assert house.store.queue.dispatch_next(house.limits).id == one.id


def test_only_queued_runs_have_a_place_to_change(house):
    run = house.claimed()
    with pytest.raises(Conflict):
        house.store.queue_admin.move_to_front(run.id, house.root)
    with pytest.raises(NotFound):
        house.store.queue_admin.move_to_front("nobody", house.root)
    assert house.store.audit.changes() == []


def test_a_paused_queue_starts_nothing_and_a_closed_one_takes_nothing_in(house):
    run = house.queued()
    paused = house.store.queue_admin.set_gates(house.root, paused=True)
    assert paused.paused and not paused.closed
    assert house.store.queue.dispatch_next(house.limits) is None
    house.queued()
    house.store.queue_admin.set_gates(house.root, paused=False, closed=True)
    with pytest.raises(QueueClosed):
        house.queued()
    assert house.counts()[1] == (2, 0, 0), "nothing is left of what was refused"
    assert house.store.queue.dispatch_next(house.limits).id == run.id
    house.store.queue_admin.set_gates(house.root, closed=False)
    house.queued()


def test_no_run_starts_once_the_queue_is_paused(house, other_house, at_once):
    for _ in range(20):
        house.queued()
    started = []

    def start(house):
        while (run := house.store.queue.dispatch_next(Limits(owner_active=50, active=50))) is not None:
            started.append(run.id)

    def pause():
        house.store.queue_admin.set_gates(house.root, paused=True)
        return len([run for run in house.store.runs.list(None, limit=50) if run.status != "queued"])

    *_, at_pause = at_once(lambda: start(house), lambda: start(other_house), pause)
    assert len(started) == at_pause


def test_the_queue_can_be_paused_before_its_first_run(house):
    house.store.queue_admin.set_gates(house.root, paused=True)
    house.queued()
    assert house.store.queue.dispatch_next(house.limits) is None


def test_limits_are_on_record_too(house):
    nightly = Scope("label", "kind", "nightly")
    house.store.limits.set(nightly, ScopeLimits(active=2), None, house.root)
    house.store.limits.set(nightly, ScopeLimits(active=2), None, house.root)
    house.store.limits.set(nightly, ScopeLimits(active=3), None, house.root)
    house.store.limits.clear(nightly, None, house.root)
    found = [(change.action, change.subject, change.before, change.after) for change in house.store.audit.changes()]
    assert found == [
        (Action.LIMIT, str(nightly), "active 3", None),
        (Action.LIMIT, str(nightly), "active 2", "active 3"),
        (Action.LIMIT, str(nightly), None, "active 2"),
    ]


def test_every_change_is_on_record_with_who_from_and_to(house):
    run = house.queued()
    house.store.queue_admin.set_priority(run.id, Priority.HIGH, house.ann)
    house.store.queue_admin.move_to_front(run.id, house.root)
    house.store.queue_admin.set_gates(house.root, paused=True)
    house.store.queue_admin.set_gates(house.root, paused=True)
    house.store.runs.request_cancel(run.id, house.ann)
    house.store.runs.request_cancel(run.id, house.root)
    found = [(change.by, change.action, change.subject, change.before, change.after) for change in house.store.audit.changes()]
    assert found == [
        (house.ann.name, Action.CANCEL, run.id, "queued", None),
        (house.root.name, Action.DISPATCH, None, "running", "paused"),
        (house.root.name, Action.FRONT, run.id, "high", "front"),
        (house.ann.name, Action.PRIORITY, run.id, "normal", "high"),
    ]
    assert [change.action for change in house.store.audit.changes(subject=run.id, limit=2)] == [Action.CANCEL, Action.FRONT]
    older = house.store.audit.changes(before=house.store.audit.changes()[1].number)
    assert [change.action for change in older] == [Action.FRONT, Action.PRIORITY]
