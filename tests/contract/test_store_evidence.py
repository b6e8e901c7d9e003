"""Evidence of an attempt is kept with the handle, with steps of the run and by itself, and belongs to one attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.errors import Fenced
from app.domain.runs.evidence import Evidence
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Progress, Reason, Status

CLAIM = Evidence(1, dispatched=2.0, claimed=3.25)
PLACE = CLAIM.with_added(node="node1", image="docker.io/library/python@sha256:aa", created=3.0)


def test_evidence_is_kept_on_the_way_to_the_end(house, other_house):
    run = house.claimed()
    assert run.evidence == Evidence(1)
    assert house.store.attempts.set_handle(run.id, run.token, "uid", CLAIM).evidence == CLAIM
    assert house.store.attempts.set_handle(run.id, run.token, "uid").evidence == CLAIM, "none is not an erasure"
    started = house.store.runs.save(run, replace(transition(run, Step.START, 5.0), evidence=PLACE))
    assert started.evidence == PLACE
    known = PLACE.with_added(started=4.5)
    assert house.store.attempts.set_evidence(started, known).evidence == known
    outcome = Outcome(Status.SUCCEEDED, Reason.COMPLETED, "Done.")
    ended = replace(transition(started, Step.END, 9.0, outcome=outcome), evidence=known.with_added(exited=8.5))
    house.store.runs.finish(started, ended, None, Progress())
    assert other_house.store.runs.get(run.id).evidence == known.with_added(exited=8.5)


def test_a_step_that_knows_no_more_leaves_what_is_there(house):
    run = house.claimed()
    house.store.attempts.set_evidence(run, PLACE)
    assert house.store.runs.save(run, transition(run, Step.START, 5.0)).evidence == PLACE


def test_an_overtaken_supervisor_and_another_attempt_store_nothing(house):
    run = house.claimed(lease_s=-1.0)
    second = house.store.leases.claim(run.id, "p2", 60.0)
    with pytest.raises(Fenced):
        house.store.attempts.set_evidence(run, PLACE)
    with pytest.raises(Fenced):
        house.store.attempts.set_evidence(replace(second, attempt=2), PLACE)
    assert house.store.runs.get(run.id).evidence == Evidence(1)
    house.store.attempts.set_evidence(second, replace(PLACE, attempt=2))
    assert house.store.runs.get(run.id).evidence == Evidence(1), "what is known of another attempt is not known of this one"


def test_what_comes_to_light_after_the_end_is_added(house, other_house):
    run = house.claimed()
    run = house.store.attempts.set_handle(run.id, run.token, "uid", CLAIM)
    ended = transition(run, Step.END, 9.0, outcome=Outcome(Status.FAILED, Reason.LAUNCH_FAILED, "No."))
    house.store.runs.finish(run, ended, None, Progress())
    for each in (house, other_house, house):
        each.store.attempts.add_evidence(run.id, 1, {"node": "node1", "image": "i@sha256:aa", "claimed": 99.0})
    assert house.store.runs.get(run.id).evidence == CLAIM.with_added(node="node1", image="i@sha256:aa")
    house.store.attempts.add_evidence(run.id, 2, {"node": "node2", "pulled": 5.0})
    house.store.attempts.add_evidence("r" + "a" * 19, 1, {"node": "node2"})
    assert house.store.runs.get(run.id).evidence.pulled is None


def test_a_run_of_which_nothing_was_known_learns_too(house):
    run = house.claimed()
    house.store.attempts.add_evidence(run.id, 1, {"image": "i@sha256:aa"})
    assert house.store.runs.get(run.id).evidence == Evidence(1, image="i@sha256:aa")
