"""Counts behind `/metrics`: exactly one for each fact, over processes, and gone with nobody."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import text

from app.domain.errors import Fenced, StoreUnavailable
from app.domain.metrics import DISPATCH_TIME, ENDED_RUNS, PROCESSES, QUEUE_WAIT, REFUSALS, REPAIRED, TAKEOVERS
from app.domain.runs.lifecycle import Step
from app.domain.runs.run import Priority, Status
from app.store.counters import Counters
from app.store.engine import make_engine


@pytest.fixture
def counters(engine):
    return Counters(engine, "p1")


def stored(counters, metric):
    """Return value by labels, buckets added up."""
    found = Counter()
    for one in counters.counts():
        if one.name == metric.name:
            found[one.labels] += one.value
    return dict(found)


@pytest.mark.trap("C7", "M5")
def test_each_start_is_one_observation_of_its_wait(house, other_house, counters, at_once):
    wanted = {Priority.HIGH: 5, Priority.NORMAL: 3, Priority.BACKGROUND: 2}
    for priority, number in wanted.items():
        for _ in range(number):
            house.queued(priority=priority)
    cancelled = house.queued()
    house.ended(cancelled)
    at_once(*(lambda h=h: h.store.queue.dispatch_next(h.limits) for h in (house, other_house) * 6))
    assert stored(counters, QUEUE_WAIT) == {(priority.value,): number for priority, number in wanted.items()}
    waits = [one for one in counters.counts() if one.name == QUEUE_WAIT.name]
    assert all(0 <= one.total < 60 for one in waits)


def test_an_end_counts_once_however_often_it_is_tried(house, counters):
    run = house.running()
    house.ended(run)
    for _ in range(2):
        with pytest.raises(Fenced):
            house.ended(run)
    assert stored(counters, ENDED_RUNS) == {("cancelled", "CancelledByUser"): 1}


@pytest.mark.trap("R5")
def test_only_a_run_whose_lease_ran_out_is_a_takeover(house, counters):
    released = house.claimed()
    house.store.leases.release(released.id, released.token)
    assert house.store.leases.claim(released.id, "p2", 60)
    parked = house.step(house.running(), Step.WAIT)
    assert house.store.leases.park(parked.id, parked.token) and house.store.leases.claim(parked.id, "p2", 60)
    assert stored(counters, TAKEOVERS) == {}
    dead = house.claimed(lease_s=-1.0)
    assert house.store.leases.claim(dead.id, "p2", 60)
    assert house.store.leases.claim(dead.id, "p3", 60) is None
    assert stored(counters, TAKEOVERS) == {(): 1}


def test_handing_out_again_counts_once_by_its_kind(house, other_house, counters, at_once, engine):
    released, dead = house.claimed(), house.claimed()
    house.store.leases.release(released.id, released.token)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET lease_until = 1, dispatched_at = 1 WHERE id = :id"), {"id": dead.id})
    rows, _ = house.store.leases.unsupervised(10)
    at_once(*(lambda h=h, run=run: h.store.leases.mark_dispatched(run) for h in (house, other_house) * 3 for run in rows))
    assert stored(counters, REPAIRED) == {("released",): 1, ("lease_expired",): 1}


def test_what_processes_note_adds_up(engine, other_engine, counters, at_once):
    others = [counters, Counters(other_engine, "p2")]

    def note_and_flush(one):
        for _ in range(20):
            one.note(REFUSALS.count("not_found"))
            one.note(DISPATCH_TIME.observe(0.002))
            one.flush()

    at_once(*(lambda one=one: note_and_flush(one) for one in others * 2))
    for one in others:
        one.flush()
    assert stored(counters, REFUSALS) == {("not_found",): 80}
    (observed,) = [one for one in counters.counts() if one.name == DISPATCH_TIME.name]
    assert (observed.le, observed.value, round(observed.total, 6)) == ("0.0025", 80, 0.16)


def test_what_could_not_be_written_is_kept(counters, tmp_path):
    broken = Counters(make_engine(f"sqlite:///{tmp_path}/missing/podwire.db"), "p9")
    broken.note(REFUSALS.count("not_found"))
    with pytest.raises(StoreUnavailable):
        broken.flush()
    broken._engine = counters._engine
    broken.note(REFUSALS.count("not_found"))
    broken.flush()
    assert stored(counters, REFUSALS) == {("not_found",): 2}


@pytest.mark.trap("M2")
def test_gauges_of_the_living_add_up_and_the_dead_are_forgotten(engine, counters):
    other = Counters(engine, "p2")
    counters.report({PROCESSES.key("web"): 1, "podwire_streams": 3})
    other.report({PROCESSES.key("web"): 1, "podwire_streams": 4})
    assert counters.gauges() == {"podwire_processes|web": 2, "podwire_streams": 7}
    counters.report({PROCESSES.key("web"): 1, "podwire_streams": 0})
    assert other.gauges()["podwire_streams"] == 4
    with engine.begin() as connection:
        connection.execute(text("UPDATE process_gauges SET until = 1 WHERE process_id = 'p2'"))
    assert counters.gauges() == {"podwire_processes|web": 1, "podwire_streams": 0}
    counters.leave()
    counters.report({PROCESSES.key("web"): 1})
    assert other.gauges() == {}


@pytest.mark.trap("M1", "M2")
def test_the_backlog_is_what_is_queued(house, other_house, counters, engine):
    runs = [house.queued(priority=priority) for priority in (Priority.LOW, Priority.LOW, Priority.HIGH)]
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET created_at = created_at - 100 WHERE id = :id"), {"id": runs[0].id})
    backlog = counters.backlog()
    assert {priority: one.depth for priority, one in backlog.items() if one.depth} == {Priority.LOW: 2, Priority.HIGH: 1}
    assert 100 <= backlog[Priority.LOW].age_s < 160 and backlog[Priority.NORMAL].age_s == 0
    for run in runs:
        assert house.ended(run).status is Status.CANCELLED
    assert all(one.depth == 0 and one.age_s == 0 for one in other_house.store and counters.backlog().values())
