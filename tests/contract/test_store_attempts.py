"""Another attempt of a run: one transaction, once, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.errors import Fenced
from app.domain.runs.attempts import AttemptPart, all_attempts
from app.domain.runs.events import Entry, Kind, encode
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.question import Asked, QuestionState
from app.domain.runs.run import Outcome, Progress, Reason, Status
from app.store.log.chunks import Chunk

OUTCOME = Outcome(Status.FAILED, Reason.OOM_KILLED, "too much\0", None, "SIGKILL", 1 << 40, 1.5)


def last_words(seq=1, epoch=1, offset=0):
    entry = Entry(seq, encode(epoch, seq, 1.0, Kind.STATUS, {"status": "queued", "attempt": 2}))
    return Chunk.pack([entry], epoch, 0, offset, 70), Progress(epoch, seq, offset, 70)


def again(house, run, *, seq=1, offset=0, wait_s=8.0, former=()):
    after = transition(run, Step.RETRY, house.store.clock.now(), wait_s=wait_s)
    part = replace(
        all_attempts(run, former)[-1], ended_at=house.store.clock.now(), outcome=OUTCOME, last_seq=seq, last_offset=offset
    )
    return house.store.attempts.retry(run, after, part, *last_words(seq, run.archived.epoch, offset))


@pytest.mark.trap("C8", "C9", "S7")
@pytest.mark.parametrize("status", [Status.STARTING, Status.RUNNING, Status.WAITING, Status.STOPPING])
def test_one_transaction_ends_the_attempt_and_queues_the_next_in_its_old_place(house, status):
    run = house.claimed(stdin=True)
    run = house.store.attempts.set_handle(run.id, run.token, "handle")
    house.store.attempts.let_go(run.id, run.token, 3.0)
    run = house.store.runs.get(run.id)
    question, _ = house.store.questions.ask(run.id, run.token, 1, Asked(1, "Go on?"), 10)
    line = house.store.inputs.add(run.id, "a", "yes\n")
    house.store.inputs.delivered(run.id, line.number)
    for step in {
        Status.STARTING: [],
        Status.RUNNING: [Step.START],
        Status.WAITING: [Step.START, Step.WAIT],
        Status.STOPPING: [Step.STOP],
    }[status]:
        run = house.step(run, step)
    queued = again(house, run, offset=12)
    assert queued == house.store.runs.get(run.id)
    assert (queued.status, queued.attempt, queued.token) == (Status.QUEUED, 2, run.token + 1)
    assert (queued.sequence, queued.created_at, queued.priority) == (run.sequence, run.created_at, run.priority)
    nothing = (queued.handle, queued.lease_owner, queued.lease_until, queued.dispatched_at, queued.let_go_at)
    assert nothing == (queued.started_at, queued.deadline_at, queued.waiting_since, queued.stopping_since, queued.outcome)
    assert nothing == (None,) * 5
    assert 7 < queued.not_before - house.store.clock.now() <= 8
    assert queued.archived == Progress(1, 1, 12, 0), "the new agent's spool begins anew, the log goes on"
    assert house.counts() == ((1, 0, 0), (1, 0, 0))
    assert house.store.questions.get(question.id).state is QuestionState.CLOSED
    assert [again.number for again in house.store.inputs.undelivered(run.id)] == [1]
    assert house.store.attempts.unfinished() == []
    assert not house.store.log.archive_state(run.id).ended
    kept = Outcome(Status.FAILED, Reason.OOM_KILLED, "too much\ufffd", None, "SIGKILL", 1 << 40, 1.5)
    (part,) = house.store.attempts.former(run.id)
    assert part == AttemptPart(1, run.started_at, part.ended_at, kept, run.evidence, 1, 1, 0, 12)


def test_each_attempt_has_its_part(house):
    first = house.running()
    second = house.step(take(house, again(house, first, offset=5)), Step.START)
    third = again(house, second, seq=2, offset=9, former=house.store.attempts.former(first.id))
    assert [
        (p.number, p.first_seq, p.last_seq, p.first_offset, p.last_offset) for p in house.store.attempts.former(first.id)
    ] == [
        (1, 1, 1, 0, 5),
        (2, 2, 2, 5, 9),
    ]
    present = all_attempts(third, house.store.attempts.former(first.id))[-1]
    assert (present.number, present.first_seq, present.first_offset, present.last_offset) == (3, 3, 9, 9)


def take(house, run):
    """Have the queued run's wait over, dispatched and claimed."""
    with house.store.runs._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET not_before = 0 WHERE not_before IS NOT NULL")
    dispatched = house.store.queue.dispatch_next(house.limits)
    assert dispatched and dispatched.id == run.id
    return house.store.leases.claim(run.id, "p2", 60.0)


@pytest.mark.trap("R1", "R5")
def test_doing_it_again_is_fine_and_others_are_fenced(house):
    run = house.running()
    first = again(house, run)
    assert again(house, run) == first, "the same transaction again, after a lost answer"
    assert len(house.store.attempts.former(run.id)) == 1
    assert house.counts() == ((1, 0, 0), (1, 0, 0))
    taken = take(house, first)
    late = again(house, run)
    assert late.token == taken.token, "also once the next attempt is under way"
    assert house.store.runs.get(run.id) == taken
    with pytest.raises(Fenced):
        house.store.runs.finish(run, transition(run, Step.END, 1.0, outcome=OUTCOME), None, run.archived)
    with pytest.raises(Fenced):
        house.store.attempts.set_handle(run.id, run.token, "old")
    with pytest.raises(Fenced):
        house.store.attempts.let_go(run.id, run.token, 1.0)
    assert house.store.runs.get(run.id) == taken


@pytest.mark.trap("R1")
def test_of_many_at_once_one_is_written(house, other_house, at_once):
    run = house.running()
    results = at_once(*(lambda h=h: again(h, run) for h in (house, other_house) * 4))
    assert {result.attempt for result in results} == {2}, results
    assert len(house.store.attempts.former(run.id)) == 1
    assert house.counts() == ((1, 0, 0), (1, 0, 0))
    assert len(house.store.log.read(run.id, 0, 10)) == 1


def test_an_overtaken_supervisor_and_a_log_that_does_not_follow_write_nothing(house):
    run = house.running()
    for other in (replace(run, token=run.token - 1), replace(run, status=Status.STOPPING)):
        with pytest.raises(Fenced):
            again(house, other)
    with pytest.raises(Fenced):
        again(house, run, seq=3)
    assert house.store.runs.get(run.id) == run
    assert house.store.attempts.former(run.id) == [] and house.counts() == ((0, 1, 0), (0, 1, 0))


def test_a_run_that_somebody_cancelled_has_no_other_attempt(house):
    run = house.running()
    house.store.runs.request_cancel(run.id, house.ann)
    assert again(house, run) is None
    assert (house.store.runs.get(run.id).status, house.store.attempts.former(run.id)) == (Status.RUNNING, [])


def test_the_word_to_start_is_noted_once(house):
    run = house.claimed()
    house.store.attempts.let_go(run.id, run.token, 3.0)
    house.store.attempts.let_go(run.id, run.token, 4.0)
    assert house.store.runs.get(run.id).let_go_at == 3.0


def test_a_run_that_waits_for_its_next_attempt_can_be_cancelled_and_expire(house):
    run = house.running()
    queued = again(house, run)
    after = transition(queued, Step.END, 9.0, outcome=Outcome(Status.EXPIRED, Reason.QUEUE_TIMEOUT, "too long"))
    end = Entry(2, encode(1, 2, 9.0, Kind.END, {"status": "expired"}))
    ended = house.store.runs.finish(queued, after, Chunk.pack([end], 1, 0, 0, 0), Progress(1, 2, 0, 0))
    assert (ended.status, ended.attempt) == (Status.EXPIRED, 2)
    assert house.counts() == ((0, 0, 0), (0, 0, 0)) and house.store.log.archive_state(run.id).ended
