"""Runs go when they ended long ago: those and no others, each once, and everything of them."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select, text, update

from app.domain.runs.artefacts import ArtefactState
from app.store.schema.tables import artefacts, metadata, runs

OF_RUNS = [table for table in metadata.sorted_tables if any(key.target_fullname == "runs.id" for key in table.foreign_keys)]


def belongings(engine, run):
    """Return how many rows each table has of the run."""
    with engine.begin() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table).where(table.c.run_id == run.id)).scalar_one()
            for table in OF_RUNS
        }


def furnish(engine, run):
    """Give the run a row in every table that rows of runs are in; what its artefacts were is removed already."""
    with engine.begin() as connection:
        for table in OF_RUNS:
            needed = [each for each in table.c if not each.nullable and each.server_default is None and each.name != "run_id"]
            values = {each.name: each.type.python_type() for each in needed} | {"run_id": run.id}
            if table is artefacts:
                values |= {"state": ArtefactState.REMOVED.value, "removed_at": 1.0}
            if "id" in table.c:
                values["id"] = f"q-{run.id}"
            connection.execute(insert(table).values(values))


def ended(house, engine, ago_s):
    run = house.running()
    furnish(engine, run)
    house.ended(run)
    with engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.id == run.id).values(ended_at=runs.c.ended_at - ago_s))
    return run


def test_what_ended_long_ago_goes_with_everything_of_it_and_nothing_else_does(house, engine):
    live = house.running()
    furnish(engine, live)
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET created_at = created_at - 1000000, started_at = started_at - 1000000"))
    older, old, fresh = ended(house, engine, 2000), ended(house, engine, 1000), ended(house, engine, 100)
    queued = house.queued()
    whole = dict.fromkeys([table.name for table in OF_RUNS], 1)
    assert len(whole) >= 8 and belongings(engine, older) == whole
    assert house.store.retention.exists(older.id) and not house.store.retention.exists("r" + "a" * 19)
    assert [house.store.retention.remove_oldest(500) for _ in range(3)] == [older.id, old.id, None]
    for run in (older, old):
        assert house.store.runs.get(run.id) is None and not house.store.retention.exists(run.id)
        assert belongings(engine, run) == dict.fromkeys(whole, 0)
    for run in (live, fresh):
        assert belongings(engine, run) == whole
    assert {run.id for run in house.store.runs.list(None)} == {live.id, fresh.id, queued.id}
    assert house.counts() == ((1, 1, 0), (1, 1, 0))
    house.ended(house.store.runs.get(live.id))
    assert house.store.retention.remove_oldest(500) is None, "its age begins with its end"


@pytest.mark.parametrize(
    ("state", "files", "goes"), [("kept", 1, False), ("removing", 1, False), ("collecting", 0, False), ("kept", 0, True)]
)
def test_a_run_with_files_in_the_storage_waits_for_their_removal(house, engine, state, files, goes):
    run = ended(house, engine, 1000)
    with engine.begin() as connection:
        connection.execute(update(artefacts).values(state=state, files=files, removed_at=None))
    assert house.store.retention.remove_oldest(500) == (run.id if goes else None)
    with engine.begin() as connection:
        connection.execute(update(artefacts).values(state="removed", removed_at=1.0))
    assert house.store.retention.remove_oldest(500) == (None if goes else run.id)


def test_of_two_that_remove_at_once_each_run_is_one_s(house, other_house, engine, at_once):
    old = {ended(house, engine, 1000).id for _ in range(8)}

    def remove(one):
        found = []
        while (removed := one.store.retention.remove_oldest(500)) is not None:
            found.append(removed)
        return found

    found = at_once(*(lambda one=one: remove(one) for one in (house, other_house) * 2))
    assert sorted(run for each in found for run in each) == sorted(old)
    assert house.store.runs.list(None) == []
