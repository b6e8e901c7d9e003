"""Admission: limits, explanation of the wait, and the order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.errors import LimitReached, QueueFull
from app.domain.queue.admission import Counts, Group, Labelled, Limits, admit, explain_start, explain_wait, has_place, ordinal
from app.domain.runs.run import Priority, Run, Status
from app.domain.runs.spec import RunSpec

LIMITS = Limits(owner_pending=3, owner_active=2, queue_length=5, active=4)


@pytest.mark.trap("C2")
def test_queued_active_and_waiting_all_count_for_the_owner() -> None:
    admit(LIMITS, Counts(1, 1, 0), Counts(1, 1, 0))
    with pytest.raises(LimitReached) as caught:
        admit(LIMITS, Counts(1, 1, 1), Counts(1, 1, 1))
    assert caught.value.extensions == {"scope": "owner", "limit": 3, "current": 3, "retry_after_s": 10}


@pytest.mark.trap("C10")
def test_a_full_queue_is_another_error_than_a_full_owner() -> None:
    with pytest.raises(QueueFull) as caught:
        admit(LIMITS, Counts(), Counts(queued=5))
    assert caught.value.status == 503 and caught.value.retryable


def test_a_waiting_run_takes_no_active_place() -> None:
    assert has_place(LIMITS, Counts(active=1, waiting=9), Counts(active=3, waiting=9))
    assert not has_place(LIMITS, Counts(active=2), Counts(active=2))
    assert not has_place(LIMITS, Counts(), Counts(active=4))


def test_the_wait_is_explained_in_one_sentence() -> None:
    assert (
        explain_wait(3, LIMITS, Counts(active=2), Counts(active=4)) == "3rd in the queue: waits for one of your own 2 active runs"
    )
    assert explain_wait(1, LIMITS, Counts(), Counts(active=4)) == "1st in the queue: all 4 places are taken"
    assert [ordinal(n) for n in (2, 11, 12, 13, 21, 112)] == ["2nd", "11th", "12th", "13th", "21st", "112th"]


def test_a_group_has_limits_of_its_own() -> None:
    full = Group("red", Counts(queued=2, active=1), max_pending=3, max_active=1)
    with pytest.raises(LimitReached) as refused:
        admit(LIMITS, Counts(), Counts(), full)
    assert {name: refused.value.extensions[name] for name in ("scope", "limit", "current")} == {
        "scope": "group:red",
        "limit": 3,
        "current": 3,
    }
    admit(LIMITS, Counts(), Counts(), Group("red", Counts(queued=100)))
    sentence = "2nd in the queue: waits for one of the 1 active runs of your group red"
    assert explain_wait(2, LIMITS, Counts(), Counts(), full) == sentence
    assert (
        explain_wait(2, LIMITS, Counts(), Counts(), None, ("kind=nightly", 2))
        == "2nd in the queue: at most 2 of kind=nightly at once"
    )


def test_what_a_start_waits_for_is_explained() -> None:
    spec = RunSpec(command=("true",))
    run = Run("r", 1, "u1", "ann", spec, Priority.NORMAL, Status.STARTING, created_at=0.0, dispatched_at=100.0)
    assert explain_start(run, 101.0) is None, "a moment without a supervisor is no wait"
    assert explain_start(run, 103.0) == "It has a place and waits for a worker to take it."
    taken = replace(run, lease_until=110.0)
    assert explain_start(taken, 103.0) is None
    assert explain_start(taken, 111.0) == "It has a place and waits for a worker to take it."
    held_up = replace(taken, held_up="The cluster quota q is used up: cpu 4/4.")
    assert explain_start(held_up, 103.0) == held_up.held_up
    assert explain_start(replace(held_up, status=Status.RUNNING), 103.0) is None


def test_a_label_has_a_limit_on_what_has_not_ended() -> None:
    nightly = Labelled("kind=nightly", Counts(queued=1, active=1, waiting=1), max_pending=3)
    with pytest.raises(LimitReached) as refused:
        admit(LIMITS, Counts(), Counts(), None, [Labelled("db=big", Counts(queued=9)), nightly])
    assert refused.value.extensions == {"scope": "label:kind=nightly", "limit": 3, "current": 3, "retry_after_s": 10}
    admit(LIMITS, Counts(), Counts(), None, [replace(nightly, max_pending=4)])
