"""What a start waits for is kept for every process to say, by the holder of the claim alone, and is gone with the wait."""

from __future__ import annotations

import pytest

from app.domain.errors import Fenced
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Progress, Reason, Status

WHY = "The cluster quota small is used up: cpu 4/4."


def test_it_is_seen_by_all_and_gone_once_the_launcher_has_the_attempt(house, other_house):
    run = house.claimed()
    house.store.attempts.hold_up(run, WHY)
    assert other_house.store.runs.get(run.id).held_up == WHY
    house.store.attempts.hold_up(run, WHY + "\0")
    assert other_house.store.runs.get(run.id).held_up == WHY + "\ufffd", "a cluster's words are not to be trusted"
    house.store.attempts.hold_up(run, None)
    assert other_house.store.runs.get(run.id).held_up is None
    house.store.attempts.hold_up(run, WHY)
    assert house.store.attempts.set_handle(run.id, run.token, "uid").held_up is None


def test_it_is_gone_after_every_step(house):
    for step in (Step.START, Step.STOP, Step.END):
        run = house.claimed()
        house.store.attempts.hold_up(run, WHY)
        run = house.store.runs.get(run.id)
        outcome = Outcome(Status.FAILED, Reason.LAUNCH_FAILED, "No.") if step is Step.END else None
        after = transition(run, step, 5.0, outcome=outcome)
        saved = house.store.runs.finish(run, after, None, Progress()) if outcome else house.store.runs.save(run, after)
        assert (saved.held_up, house.store.runs.get(run.id).held_up) == (None, None)


def test_an_overtaken_supervisor_and_one_whose_run_has_started_say_nothing(house):
    run = house.claimed(lease_s=-1.0)
    second = house.store.leases.claim(run.id, "p2", 60.0)
    with pytest.raises(Fenced):
        house.store.attempts.hold_up(run, WHY)
    started = house.store.runs.save(second, transition(second, Step.START, 5.0))
    with pytest.raises(Fenced):
        house.store.attempts.hold_up(started, WHY)
    assert house.store.runs.get(run.id).held_up is None
