"""Limits of groups and labels, and limits that change while everything runs: exact over several processes."""

from __future__ import annotations

import pytest

from app.domain.errors import LimitReached, QueueFull
from app.domain.ids import new_run_id
from app.domain.queue.admission import Counts, Limits, explain_wait
from app.domain.queue.limits import ScopeLimits, parse_scope
from app.domain.runs.lifecycle import Step
from app.domain.runs.run import Priority, Run, Status
from app.domain.runs.spec import RunSpec
from app.store.engine import begin
from app.store.schema.account_tables import users

NIGHTLY = {"labels": {"kind": "nightly"}}


def limit(house, scope, owner=None, **limits):
    house.store.limits.set(parse_scope(scope), ScopeLimits(**limits), owner.id if owner else None)


def counted(house, scope):
    """(queued, active, waiting) of a scope that has something set."""
    counted = next(item.counts for item in house.store.limits.list() if str(item.scope) == scope)
    return counted.queued, counted.active, counted.waiting


def submit(house, owner, limits=None, **spec):
    whole = RunSpec(**{"script": "1", "language": "python", **spec})
    return house.store.submissions.submit(new_run_id(), owner, whole, Priority.NORMAL, limits or Limits(owner_pending=1000))[0]


@pytest.mark.trap("C3")
@pytest.mark.parametrize(
    ("scope", "field", "code"),
    [("group:red", "pending", "limit_reached"), ("all", "queue_length", "queue_full"), ("owner:*", "pending", "limit_reached")],
)
def test_fifty_submits_at_once_over_two_processes_accept_exactly_a_limit_set_at_run_time(
    house, other_house, at_once, scope, field, code
):
    owners = [house.ann, house.bob] if scope != "owner:*" else [house.ann]
    for owner in owners:
        limit(house, f"owner:{owner.name}", owner, group="red")
    limit(house, scope, **{field: 17})
    labels = {"a": "b"}
    pairs = [(h, owner) for h in (house, other_house) for owner in owners] * (50 // len(owners) // 2)
    results = at_once(*(lambda h=h, owner=owner: submit(h, owner, labels=labels) for h, owner in pairs))
    refused = [r for r in results if isinstance(r, LimitReached | QueueFull)]
    assert len([r for r in results if isinstance(r, Run)]) == 17 and len(refused) == len(pairs) - 17, results
    assert {r.code for r in refused} == {code}
    assert {(r.extensions["limit"], r.extensions["current"]) for r in refused} == {(17, 17)}
    assert all(r.extensions["retry_after_s"] > 0 for r in refused)
    assert counted(house, "group:red") == (17, 0, 0)
    limit(house, scope, **{field: 18})
    submit(other_house, house.ann)
    with pytest.raises((LimitReached, QueueFull)):
        submit(other_house, house.ann)


@pytest.mark.trap("C3", "C13")
@pytest.mark.parametrize("scope", ["label:kind=nightly", "group:red", "owner:*", "owner:ann", "all"])
def test_many_dispatchers_start_exactly_as_many_as_a_limit_set_at_run_time_allows(house, other_house, at_once, scope):
    limit(house, "owner:ann", house.ann, group="red")
    queued = [submit(house, house.ann, **NIGHTLY) for _ in range(8)]
    limit(
        house, scope, house.ann if scope == "owner:ann" else None, active=3, **({"group": "red"} if scope == "owner:ann" else {})
    )
    started = at_once(*(lambda h=h: h.store.queue.dispatch_next(Limits(owner_active=9)) for h in (house, other_house) * 6))
    runs = [run for run in started if isinstance(run, Run)]
    assert [run.id for run in sorted(runs, key=lambda run: run.sequence)] == [run.id for run in queued[:3]]
    house.ended(runs[0], Status.FAILED)
    assert other_house.store.queue.dispatch_next(Limits()).id == queued[3].id
    limit(house, scope, house.ann if scope == "owner:ann" else None, active=4)
    assert house.store.queue.dispatch_next(Limits()).id == queued[4].id
    assert house.store.queue.dispatch_next(Limits()) is None


def test_a_label_at_its_limit_keeps_nobody_else_waiting_and_is_counted_from_the_first_limit_on(house):
    before = [submit(house, house.ann, **NIGHTLY) for _ in range(3)]
    running = house.store.queue.dispatch_next(house.limits)
    limit(house, "label:kind=nightly", active=1)
    assert counted(house, "label:kind=nightly") == (2, 1, 0)
    other = submit(house, house.ann)
    late = submit(house, house.bob, **NIGHTLY)
    assert house.store.queue.dispatch_next(house.limits).id == other.id
    assert house.store.queue.dispatch_next(house.limits) is None
    stands = house.store.counts.start_conditions(late, house.limits)
    assert stands.full_label == ("kind=nightly", 1)
    sentence = explain_wait(3, stands.limits, stands.owner, stands.everyone, stands.group, stands.full_label)
    assert sentence == "3rd in the queue: at most 1 of kind=nightly at once"
    house.ended(running, Status.FAILED)
    assert house.store.queue.dispatch_next(house.limits).id == late.id, "bob has had fewer turns"
    house.store.limits.clear(parse_scope("label:kind=nightly"))
    assert [house.store.queue.dispatch_next(house.limits).id for _ in range(2)] == [run.id for run in before[1:]]
    assert house.store.lanes.repair() is False
    limit(house, "label:kind=nightly", active=5)
    assert counted(house, "label:kind=nightly") == (0, 3, 0)


@pytest.mark.trap("C3")
def test_so_many_of_a_label_may_not_have_ended_whoever_submits_them(house, other_house, at_once):
    earlier = submit(house, house.ann, **NIGHTLY)
    limit(house, "label:kind=nightly", pending=5)
    pairs = [(h, owner) for h in (house, other_house) for owner in (house.ann, house.bob)] * 5
    results = at_once(*(lambda h=h, owner=owner: submit(h, owner, **NIGHTLY) for h, owner in pairs))
    refused = [each for each in results if isinstance(each, LimitReached)]
    assert (len(refused), len([each for each in results if isinstance(each, Run)])) == (16, 4), "one was there before the limit"
    assert {(each.extensions["scope"], each.extensions["limit"], each.extensions["current"]) for each in refused} == {
        ("label:kind=nightly", 5, 5)
    }
    assert counted(house, "label:kind=nightly") == (5, 0, 0)
    submit(house, house.ann, labels={"kind": "daily"})
    house.ended(earlier)
    submit(house, house.bob, **NIGHTLY)
    limit(house, "label:kind=nightly", pending=5, active=0)
    assert house.store.queue.dispatch_next(Limits()).spec.labels == {"kind": "daily"}, "the limit of active ones holds beside it"


def test_two_limited_labels_both_hold(house):
    both = submit(house, house.ann, labels={"kind": "nightly", "db": "big"})
    limit(house, "label:kind=nightly", active=1)
    limit(house, "label:db=big", active=0)
    assert house.store.queue.dispatch_next(house.limits) is None
    one = submit(house, house.ann, **NIGHTLY)
    assert house.store.queue.dispatch_next(house.limits).id == one.id
    house.store.limits.clear(parse_scope("label:db=big"))
    assert house.store.queue.dispatch_next(house.limits) is None
    house.ended(house.store.runs.get(one.id), Status.FAILED)
    assert house.store.queue.dispatch_next(house.limits).id == both.id
    assert counted(house, "label:kind=nightly") == (0, 1, 0)


def test_who_changes_group_takes_every_run_along(house):
    waiting = house.step(house.running(), Step.WAIT)
    house.claimed()
    house.queued()
    limit(house, "owner:ann", house.ann, group="red")
    assert counted(house, "group:red") == (1, 1, 1)
    limit(house, "owner:ann", house.ann, group="blue")
    assert (counted(house, "group:red"), counted(house, "group:blue")) == ((0, 0, 0), (1, 1, 1))
    house.step(waiting, Step.RESUME)
    assert counted(house, "group:blue") == (1, 2, 0)
    house.store.limits.clear(parse_scope("owner:ann"), house.ann.id)
    assert counted(house, "group:blue") == (0, 0, 0)
    assert house.counts()[0] == (1, 2, 0)


def test_what_is_set_is_listed_and_weights_count(house, engine):
    with begin(engine) as connection:
        connection.execute(users.insert(), [{"id": house.ann.id, "name": "ann", "role": "user", "created_at": 1.0}])
    limit(house, "owner:ann", house.ann, weight=3, pending=50)
    limit(house, "owner:*", active=7)
    limit(house, "label:a=b=c", active=2)
    items = {str(item.scope): item.limits for item in house.store.limits.list()}
    assert items == {
        "all": ScopeLimits(),
        "label:a=b=c": ScopeLimits(active=2),
        "owner:*": ScopeLimits(active=7),
        "owner:ann": ScopeLimits(pending=50, weight=3),
    }
    for owner in (house.ann, house.bob) * 6:
        submit(house, owner)
    started = [house.store.queue.dispatch_next(Limits()).owner_id for _ in range(8)]
    assert started.count(house.ann.id) == 6
    assert house.store.counts.start_conditions(submit(house, house.ann), Limits()).owner == Counts(1, 6, 0)
