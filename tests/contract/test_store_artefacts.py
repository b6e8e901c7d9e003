"""What SQL knows of artefacts: settled once, by whoever holds the run; removed by one process, only long after the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.domain.errors import Fenced
from app.domain.runs.artefacts import Artefact, ArtefactState
from app.store.artefacts.artefacts import ArtefactStore

FILES = [Artefact(1, "a.txt", 3, 1.5), Artefact(2, "sub/\u00fc\n\x01'\"\\", 4, 2.5), Artefact(3, "big", 2**40, 3.5)]


@pytest.fixture
def store(engine):
    return ArtefactStore(engine)


@pytest.fixture
def other_store(other_engine):
    return ArtefactStore(other_engine)


def kept(holding, files=FILES):
    size = sum(file.size_bytes for file in files)
    return replace(holding, state=ArtefactState.KEPT, storage="disk-1", files=len(files), size_bytes=size, message="")


def aged(engine, run, seconds):
    with engine.begin() as connection:
        for statement in (
            "UPDATE runs SET ended_at = ended_at - :s WHERE id = :r",
            "UPDATE artefacts SET began_at = began_at - :s, until = until - :s WHERE run_id = :r",
        ):
            connection.execute(text(statement), {"s": seconds, "r": run.id})


def test_what_an_attempt_left_is_written_once_and_found_by_name(house, store, other_store):
    run = house.running()
    holding, left_s = store.begin(run, 50.0)
    assert (holding.state, holding.attempt) == (ArtefactState.COLLECTING, 1) and 0 < left_s <= 50
    for _ in range(2):
        store.settle(run, kept(holding), FILES)
    (found,) = other_store.of_run(run.id)
    assert found == replace(kept(holding), until=None, token=run.token)
    assert other_store.files(run.id, 1, 0, 2) == FILES[:2] and other_store.files(run.id, 1, 2, 2) == FILES[2:]
    for file in FILES:
        assert other_store.file(run.id, 1, file.name) == file
    assert other_store.file(run.id, 1, "a") is None and other_store.file(run.id, 2, "a.txt") is None
    assert other_store.begin(run, 50.0)[0].state is ArtefactState.KEPT, "it is not collected twice"


def test_a_takeover_has_the_time_that_is_left_of_the_first(house, store, other_store, engine):
    run = house.running()
    store.begin(run, 50.0)
    aged(engine, run, 30)
    assert 0 < other_store.begin(run, 50.0)[1] <= 20


@pytest.mark.trap("W1")
def test_an_overtaken_supervisor_settles_nothing(house, store, other_store):
    run = house.claimed(lease_s=-1.0)
    holding, _ = store.begin(run, 50.0)
    second = house.store.leases.claim(run.id, "p2", 60.0)
    with pytest.raises(Fenced):
        store.settle(run, kept(holding), FILES)
    other_store.settle(second, kept(holding, FILES[:1]), FILES[:1])
    (found,) = store.of_run(run.id)
    assert (found.token, found.files, store.files(run.id, 1, 0, 9)) == (second.token, 1, FILES[:1])


def test_attempts_are_apart(house, store):
    run = house.running()
    for attempt in (1, 2):
        of_attempt = replace(run, attempt=attempt)
        store.settle(of_attempt, kept(store.begin(of_attempt, 9.0)[0], FILES[:attempt]), FILES[:attempt])
    assert [(each.attempt, each.files) for each in store.of_run(run.id)] == [(1, 1), (2, 2)]
    assert store.file(run.id, 1, FILES[1].name) is None


@pytest.mark.trap("W5")
def test_only_what_ended_long_ago_is_removed_and_by_one(house, store, other_store, engine, at_once):
    old, fresh, live = house.running(), house.running(), house.running()
    for run in (old, fresh, live):
        store.settle(run, kept(store.begin(run, 9.0)[0]), FILES)
    house.ended(old)
    house.ended(fresh)
    aged(engine, old, 1000)
    aged(engine, live, 1_000_000)
    assert [run.id for run in store.expired(500, "disk-1", 10)] == [old.id]
    assert store.expired(500, "disk-2", 10) == [], "who sees another storage removes nothing"
    for run in (fresh, live):
        assert store.claim_removal(run.id, 500) is False
    claims = [lambda one=one: one.claim_removal(old.id, 500) for one in (store, other_store) * 3]
    assert sorted(map(str, at_once(*claims))) == ["False"] * 5 + ["True"]
    assert store.expired(500, "disk-1", 10) == [], "what one removes, others leave to it"
    assert store.of_run(old.id)[0].state is ArtefactState.REMOVING
    aged(engine, old, 1000)
    assert other_store.claim_removal(old.id, 500), "one that died over it does not keep it for ever"
    store.removed(old.id)
    store.removed(old.id)
    (found,) = store.of_run(old.id)
    assert found.state is ArtefactState.REMOVED and found.removed_at and store.files(old.id, 1, 0, 9) == []
    assert store.expired(500, "disk-1", 10) == [] and store.claim_removal(old.id, 500) is False
    assert store.known([old.id, fresh.id, live.id, "r" + "a" * 19]) == {fresh.id, live.id}
    assert store.files(live.id, 1, 0, 9) == FILES


def test_attempts_that_left_nothing_are_no_work_for_ever(house, store, engine):
    run = house.running()
    store.settle(run, kept(store.begin(run, 9.0)[0], []))
    house.ended(run)
    aged(engine, run, 1000)
    assert store.expired(500, "disk-1", 10) == []
