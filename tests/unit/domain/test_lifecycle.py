"""The lifecycle table: what may happen to a run, proved over every sequence of steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Conflict
from app.domain.runs.lifecycle import TRANSITIONS, Step, transition
from app.domain.runs.run import FINAL, Outcome, Priority, Reason, Run, Status
from app.domain.runs.spec import RunSpec


def queued() -> Run:
    spec = RunSpec(command=("true",), timeout_s=100)
    return Run("r" + "a" * 19, 1, "u1", "ann", spec, Priority.NORMAL, Status.QUEUED, created_at=0.0)


def outcome(status: Status) -> Outcome:
    return Outcome(status, Reason.COMPLETED, "done")


def successors(status: Status) -> set[Status]:
    return {target for (source, _), targets in TRANSITIONS.items() if source is status for target in targets}


def test_every_status_is_reachable_and_only_finals_have_no_exit() -> None:
    seen, frontier = {Status.QUEUED}, [Status.QUEUED]
    while frontier:
        for status in successors(frontier.pop()) - seen:
            seen.add(status)
            frontier.append(status)
    assert seen == set(Status)
    assert {status for status in Status if not successors(status)} == FINAL


def test_every_status_can_reach_a_final_one() -> None:
    for status in set(Status) - FINAL:
        assert any(targets & FINAL for (source, _), targets in TRANSITIONS.items() if source is status)


@given(st.lists(st.tuples(st.sampled_from(Step), st.sampled_from(Status), st.floats(0, 50)), max_size=12))
def test_no_sequence_of_steps_leaves_the_table_or_a_final_status(steps: list[tuple[Step, Status, float]]) -> None:
    run, now = queued(), 0.0
    for step, target, wait in steps:
        now += wait
        before = run
        try:
            run = transition(run, step, now, outcome=outcome(target), reason=Reason.CANCELLED_BY_USER)
        except Conflict:
            assert run is before
            continue
        assert run.status in TRANSITIONS[before.status, step]
        assert not before.status.final
        assert (run.ended_at is not None) == run.status.final == (run.outcome is not None)
        once = int(step is Step.RETRY)
        assert (run.attempt, run.token) == (before.attempt + once, before.token + once)
        assert (run.sequence, run.priority, run.created_at) == (before.sequence, before.priority, before.created_at)


def test_waiting_for_a_person_does_not_count_against_the_timeout() -> None:
    run = transition(transition(queued(), Step.DISPATCH, 1), Step.START, 2)
    assert run.deadline_at == 102
    run = transition(transition(run, Step.WAIT, 10), Step.RESUME, 60)
    assert run.deadline_at == 152
    assert run.waiting_since is None


SUPERVISED_STATUSES = [Status.STARTING, Status.RUNNING, Status.WAITING, Status.STOPPING]


@given(st.sampled_from(SUPERVISED_STATUSES), st.booleans(), st.floats(0, 100))
def test_another_attempt_begins_like_a_run_that_was_just_queued(status: Status, started: bool, wait_s: float) -> None:
    first = replace(queued(), queue_deadline_at=50.0)
    used = replace(
        first,
        status=status,
        token=4,
        handle="h",
        lease_owner="p",
        lease_until=9.0,
        dispatched_at=1.0,
        let_go_at=2.0,
        held_up="no room",
        started_at=3.0 if started else None,
        deadline_at=103.0,
        waiting_since=5.0,
        stopping_since=6.0,
        stop_reason=Reason.RUN_TIMEOUT,
    )
    again = transition(used, Step.RETRY, 20, wait_s=wait_s)
    # The time in the queue goes on where no code began, and starts anew where it did.
    deadline_at = 20 + first.spec.queue_timeout_s if started else 50.0
    waits = {"queued_again_at": 20, "not_before": 20 + wait_s, "queue_deadline_at": deadline_at}
    assert again == replace(first, attempt=2, token=5, first_token=5, **waits)
    assert transition(again, Step.DISPATCH, 30).not_before is None


def test_a_run_in_the_queue_or_at_its_end_or_cancelled_has_no_other_attempt() -> None:
    for status in set(Status) - set(SUPERVISED_STATUSES):
        with pytest.raises(Conflict):
            transition(replace(queued(), status=status), Step.RETRY, 1)
    with pytest.raises(Conflict):
        transition(replace(queued(), status=Status.STOPPING, cancel_requested_at=1.0), Step.RETRY, 2)


def test_an_end_must_fit_the_status() -> None:
    with pytest.raises(Conflict):
        transition(queued(), Step.END, 1, outcome=outcome(Status.SUCCEEDED))
    with pytest.raises(Conflict):
        transition(queued(), Step.END, 1)
