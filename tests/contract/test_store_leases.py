"""Leases and tokens: one supervisor at a time, and what a former one writes is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain import reconcile
from app.domain.errors import Fenced
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.question import Asked
from app.domain.runs.run import Reason, Run, Status


@pytest.mark.trap("R1", "R4")
def test_of_many_claims_at_once_one_wins(house, other_house, at_once):
    run = house.queued()
    assert house.store.leases.claim(run.id, "p0", 60) is None, "a queued run is not claimed"
    house.store.queue.dispatch_next(house.limits)
    claims = at_once(
        *(lambda h=h, n=n: h.store.leases.claim(run.id, f"p{n}", 60.0) for n, h in enumerate((house, other_house) * 10))
    )
    won = [claim for claim in claims if isinstance(claim, Run)]
    assert len(won) == 1 and [c for c in claims if c is not None] == won
    assert won[0].token == 1 and won[0].lease_owner == f"p{claims.index(won[0])}"
    assert house.store.runs.get(run.id) == won[0]


@pytest.mark.trap("R5")
def test_a_lease_that_ran_out_is_claimed_with_a_higher_token(house):
    first = house.claimed(lease_s=-1.0)
    second = house.store.leases.claim(first.id, "p2", 60.0)
    assert second.token == 2 and second.lease_owner == "p2"
    with pytest.raises(Fenced):
        house.store.runs.save(first, transition(first, Step.START, 1.0))
    with pytest.raises(Fenced):
        house.ended(first)
    with pytest.raises(Fenced):
        house.store.attempts.set_handle(first.id, first.token, "late")
    house.store.leases.release(first.id, first.token)
    stored = house.store.runs.get(first.id)
    assert stored == second, "a fenced supervisor changes nothing"


def test_renewal_keeps_all_leases_of_a_process_and_says_which(house):
    mine, other = house.claimed(process="p1", lease_s=1.0), house.claimed(process="p2", lease_s=1.0)
    lost = house.claimed(process="p1", lease_s=-1.0)
    house.store.leases.claim(lost.id, "p3", 60.0)
    assert house.store.leases.renew("p1", 500.0) == {(mine.id, 1)}
    assert house.store.runs.get(mine.id).lease_until > house.store.clock.now() + 400
    assert house.store.runs.get(other.id).lease_until == other.lease_until
    house.ended(mine)
    assert house.store.leases.renew("p1", 60.0) == set()


def test_a_released_run_is_handed_out_again_at_once_and_once(house, other_house, at_once):
    run = house.claimed()
    rows, _ = house.store.leases.unsupervised(10)
    assert rows == []
    house.store.leases.release(run.id, run.token)
    rows, now = house.store.leases.unsupervised(10)
    assert [r.id for r in reconcile.unsupervised(rows, now)] == [run.id]
    marks = at_once(*(lambda h=h: h.store.leases.mark_dispatched(run) for h in (house, other_house) * 4))
    assert sorted(marks) == [False] * 7 + [True]
    assert house.store.leases.unsupervised(10)[0] == [], "it was handed out a moment ago"
    assert house.store.leases.claim(run.id, "p2", 60).token == 2


def test_the_candidates_are_those_of_the_pure_rule(house):
    fresh = house.queued()
    house.store.queue.dispatch_next(house.limits)
    dead = house.claimed(lease_s=-1.0)
    alive = house.claimed()
    house.store.runs.save(dead, replace(dead, status=Status.RUNNING, dispatched_at=house.store.clock.now() - 60))
    rows, now = house.store.leases.unsupervised(10)
    everything = [house.store.runs.get(r.id) for r in (fresh, dead, alive)]
    assert [r.id for r in rows] == [r.id for r in reconcile.unsupervised(everything, now)] == [dead.id]
    assert house.store.leases.mark_dispatched(alive) is False
    assert sorted(house.store.attempts.unfinished()) == sorted((r.id, 1) for r in everything)


def test_saving_keeps_what_others_wrote_meanwhile(house):
    run = house.claimed()
    with_handle = house.store.attempts.set_handle(run.id, run.token, "handle")
    assert with_handle.handle == "handle"
    cancelled = house.store.runs.request_cancel(run.id, house.root)
    assert (cancelled.cancelled_by, cancelled.owner_name) == ("root", "ann")
    saved = house.store.runs.save(run, transition(run, Step.START, 5.0))
    assert (saved.status, saved.handle, saved.started_at) == (Status.RUNNING, "handle", 5.0)
    assert saved.cancel_requested_at == cancelled.cancel_requested_at and saved.lease_owner == "p1"


def test_a_step_may_be_saved_again_after_a_lost_answer_but_not_another(house):
    run = house.claimed()
    started = transition(run, Step.START, 5.0)
    first = house.store.runs.save(run, started)
    assert house.store.runs.save(run, started) == first
    with pytest.raises(Fenced):
        house.store.runs.save(run, transition(run, Step.STOP, 6.0, reason=Reason.RUN_TIMEOUT))
    assert house.counts() == ((0, 1, 0), (0, 1, 0))


def test_the_first_request_to_cancel_stays(house):
    run = house.queued()
    first = house.store.runs.request_cancel(run.id, house.ann)
    assert house.store.runs.request_cancel(run.id, house.root) == first and first.cancelled_by == "ann"
    house.ended(run, Status.CANCELLED)
    assert house.store.runs.request_cancel(run.id, house.root).status is Status.CANCELLED


@pytest.mark.trap("P6")
def test_of_many_ticks_at_once_one_has_the_turn(house, other_house, at_once):
    for _ in range(3):
        turns = at_once(
            *(lambda h=h, n=n: h.store.ticks.acquire("sweep", f"p{n}", 60.0) for n, h in enumerate((house, other_house) * 4))
        )
        assert turns.count(True) <= 1
    assert house.store.ticks.acquire("sweep", "p1", 60.0) is False, "the turn is over only after its time"
    assert house.store.ticks.acquire("other", "p1", -1.0) and house.store.ticks.acquire("other", "p2", 60.0)


@pytest.mark.trap("Q9")
def test_a_waiting_run_is_parked_unless_there_is_news_and_fetched_by_one(house, other_house, at_once):
    run = house.step(house.running(), Step.WAIT)
    question, _ = house.store.questions.ask(run.id, run.token, 1, Asked(1, "Well?"), 10)
    assert not house.store.leases.unpark(run.id), "it is supervised"
    assert not house.store.leases.park(run.id, run.token - 1)
    assert house.store.leases.park(run.id, run.token)
    rows, now = house.store.leases.unsupervised(10)
    assert rows == [], "it was parked a moment ago"
    later = now + reconcile.LOOK_AFTER_PARKED_S
    assert reconcile.unsupervised([house.store.runs.get(run.id)], later - 1) == []
    assert reconcile.unsupervised([house.store.runs.get(run.id)], later + 1) != []
    assert house.store.leases.unpark(run.id)
    claims = at_once(*(lambda h=h: h.store.leases.claim(run.id, "p2", 60) for h in (house, other_house) * 4))
    (held,) = [claim for claim in claims if claim]
    house.store.questions.answer(question.id, house.ann, "yes", None)
    assert not house.store.leases.park(held.id, held.token), "its answer is on the way"
    house.store.questions.delivered(question.id)
    house.store.runs.request_cancel(run.id, house.ann)
    assert not house.store.leases.park(held.id, held.token), "it is to be stopped"


def test_only_a_waiting_run_is_parked(house):
    run = house.running()
    assert not house.store.leases.park(run.id, run.token)
