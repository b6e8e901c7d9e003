"""The end: once, with everything in one transaction; and counts that are exact after any history."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from sqlalchemy import func, select

from app.domain.errors import Conflict, Fenced
from app.domain.queue.admission import Limits
from app.domain.runs.events import Entry, Kind, encode
from app.domain.runs.lifecycle import TRANSITIONS, Step, transition
from app.domain.runs.question import Asked, QuestionState
from app.domain.runs.run import Outcome, Progress, Reason, Run, Status
from app.store.log.chunks import Chunk
from app.store.schema.tables import runs as runs_table

OUTCOME = Outcome(Status.FAILED, Reason.NON_ZERO_EXIT, "exit code 3\0", 3, None, 1 << 40, 1.5)


def end_chunk(seq=1, epoch=1):
    return Chunk.pack([Entry(seq, encode(epoch, seq, 1.0, Kind.END, {"status": "failed"}))], epoch, 0, 0, 7)


@pytest.mark.trap("S7", "Q11", "L5")
def test_the_end_is_one_transaction(house):
    run = house.running()
    question, _ = house.store.questions.ask(run.id, run.token, 1, Asked(1, "Go on?"), 10)
    after = transition(run, Step.END, 9.0, outcome=OUTCOME)
    ended = house.store.runs.finish(run, after, end_chunk(), Progress(1, 1, 0, 7))
    assert ended.outcome == Outcome(Status.FAILED, Reason.NON_ZERO_EXIT, "exit code 3\ufffd", 3, None, 1 << 40, 1.5)
    assert (ended.status, ended.ended_at, ended.lease_owner, ended.lease_until) == (Status.FAILED, 9.0, None, None)
    assert ended.archived == Progress(1, 1, 0, 7)
    assert house.store.questions.get(question.id).state is QuestionState.CLOSED
    assert house.counts() == ((0, 0, 0), (0, 0, 0))
    assert [e.seq for e in house.store.log.read(run.id, 0, 10)] == [1]
    assert house.store.log.archive_state(run.id).ended


@pytest.mark.trap("C2", "M1", "S7")
def test_of_many_ends_at_once_one_is_written_and_one_place_freed(house, other_house, at_once):
    run = house.running()
    keep = house.running(house.bob)

    def end(h):
        after = transition(run, Step.END, 9.0, outcome=OUTCOME)
        return lambda: h.store.runs.finish(run, after, end_chunk(), Progress(1, 1, 0, 0))

    results = at_once(*(end(h) for h in (house, other_house) * 5))
    assert sum(isinstance(r, Run) for r in results) == 1
    assert sum(isinstance(r, Fenced) for r in results) == 9, results
    assert house.counts() == ((0, 0, 0), (0, 1, 0))
    assert len(house.store.log.read(run.id, 0, 10)) == 1
    assert house.store.runs.get(keep.id).status is Status.RUNNING


def test_an_end_that_does_not_follow_the_archive_writes_nothing(house):
    run = house.running()
    after = transition(run, Step.END, 9.0, outcome=OUTCOME)
    with pytest.raises(Fenced):
        house.store.runs.finish(run, after, end_chunk(seq=3), Progress(1, 3, 0, 0))
    assert house.store.runs.get(run.id) == run
    assert house.counts() == ((0, 1, 0), (0, 1, 0)) and house.store.log.read(run.id, 0, 10) == []


@pytest.mark.trap("C2", "C13", "C15", "M1")
def test_whole_lives_at_once_in_two_processes_neither_block_each_other_nor_leak_a_place(house, other_house, at_once):
    limits = Limits(active=4, owner_active=3)

    def lives(h, seed):
        dice, ended = random.Random(seed), 0
        for _ in range(12):
            mine = h.queued(dice.choice([h.ann, h.bob]))
            for run in (mine, h.store.queue.dispatch_next(limits)):
                ended += run is not None and end(h, run, dice)
        return ended

    def end(h, run, dice):
        with suppress(Fenced, Conflict):
            if run.status is Status.STARTING:
                run = h.store.leases.claim(run.id, "p", 60)
                run = h.step(run, Step.START) if dice.random() < 0.7 else run
                run = h.step(run, Step.WAIT) if run.status is Status.RUNNING and dice.random() < 0.5 else run
            h.ended(run)
            return True
        return False

    results = at_once(*(lambda h=h, n=n: lives(h, n) for n, h in enumerate((house, other_house) * 3)))
    assert [r for r in results if not isinstance(r, int)] == []
    unfinished = house.store.runs.list(None, statuses=[s for s in Status if not s.final], limit=100)
    assert sum(results) + len(unfinished) == 72, "every run ended once"
    for run in unfinished:
        house.ended(run)
    assert house.counts() == house.counts(house.bob) == ((0, 0, 0), (0, 0, 0))


@pytest.mark.trap("M1", "C13")
@pytest.mark.parametrize("seed", [1, 2])
def test_counts_equal_the_runs_after_any_history(house, seed, engine):
    dice = random.Random(seed)
    for _ in range(120):
        unfinished = house.store.runs.list(None, statuses=[s for s in Status if not s.final], limit=50)
        run = dice.choice([*unfinished, None]) if len(unfinished) < 12 else dice.choice(unfinished)
        if run is None:
            house.queued(dice.choice([house.ann, house.bob]))
        else:
            disturb(house, run, dice)
        check_counts(house, engine)
    for run in house.store.runs.list(None, statuses=[s for s in Status if not s.final], limit=50):
        house.ended(run, Status.CANCELLED)
    assert house.counts() == house.counts(house.bob) == ((0, 0, 0), (0, 0, 0))


def disturb(house, run, dice):
    """Do something at random to a run, sometimes with an old copy of it."""
    step = dice.choice(list(Step))
    end = dice.choice([s for s in Status if s.final])
    outcome = Outcome(end, Reason.COMPLETED, "over")
    try:
        if step is Step.END:
            after = transition(run, step, house.store.clock.now(), outcome=outcome)
            house.store.runs.finish(run, after, end_chunk(), Progress(1, 1, 0, 0))
        else:
            saved = house.store.runs.save(run, transition(run, step, house.store.clock.now(), reason=Reason.RUN_TIMEOUT))
            assert saved.status in TRANSITIONS[run.status, step]
        house.store.runs.finish(run, transition(run, Step.END, 1.0, outcome=outcome), end_chunk(), Progress(1, 1, 0, 0))
    except (Conflict, Fenced):
        pass


def check_counts(house, engine):
    with engine.connect() as connection:
        rows = connection.execute(
            select(runs_table.c.owner_id, runs_table.c.status, func.count()).group_by(runs_table.c.owner_id, runs_table.c.status)
        ).all()

    def truth(*owners):
        found = {}
        for owner, status, number in rows:
            if owner in owners and not Status(status).final:
                name = "active" if Status(status).active else status
                found[name] = found.get(name, 0) + number
        return (found.get("queued", 0), found.get("active", 0), found.get("waiting", 0))

    both = truth(house.ann.id, house.bob.id)
    assert house.counts() == (truth(house.ann.id), both)
    assert house.counts(house.bob) == (truth(house.bob.id), both)
