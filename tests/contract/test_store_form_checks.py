"""Notes of forms that are being checked: per record and claim, fenced, gone with the run."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.domain.errors import Fenced
from app.store.engine import begin
from app.store.runs.form_checks import FormCheck
from app.store.schema.tables import form_checks, runs


def again(house, run):
    """Have another claim take the run over."""
    house.store.leases.release(run.id, house.store.runs.get(run.id).token)
    return house.store.leases.claim(run.id, "another process", 20)


def test_a_note_counts_each_claim_that_left_it_and_nothing_else(house):
    checks, run, neighbour = house.store.form_checks, house.running(), house.running()
    first = run.token
    assert checks.note(run.id, first, 1, 7) == checks.note(run.id, first, 1, 7) == FormCheck(0, None)
    assert checks.note(neighbour.id, neighbour.token, 1, 7) == FormCheck(0, None)
    second = again(house, run).token
    assert checks.note(run.id, second, 1, 7) == checks.note(run.id, second, 1, 7) == FormCheck(1, None)
    assert checks.note(run.id, second, 1, 8) == checks.note(run.id, second, 2, 7) == FormCheck(0, None)
    checks.put_off(run.id, first, 1, 7)  # the former claim, which was only paused, changes nothing
    third = again(house, run).token
    assert checks.note(run.id, third, 1, 7) == FormCheck(2, None)
    checks.put_off(run.id, third, 1, 7)
    fourth = again(house, run).token
    assert checks.note(run.id, fourth, 1, 7) == FormCheck(2, None)
    assert checks.note(neighbour.id, neighbour.token, 1, 7) == FormCheck(0, None)
    with pytest.raises(Fenced):
        checks.note(run.id, third, 1, 9)


def test_a_refusal_is_kept_and_what_was_good_is_forgotten(house, engine):
    checks, run, neighbour = house.store.form_checks, house.running(), house.running()
    for position in (7, 8):
        checks.note(run.id, run.token, 1, position)
        checks.note(neighbour.id, neighbour.token, 1, position)
    checks.refuse(run.id, 1, 7, "no")
    checks.forget(run.id, 1, 8)
    checks.refuse(neighbour.id, 1, 7, "no")
    assert [checks.refused(run.id, attempt, words) for attempt, words in ((1, "n"), (2, "n"), (1, "x"))] == [1, 0, 0]
    token = again(house, run).token
    assert checks.note(run.id, token, 1, 7) == FormCheck(0, "no")
    assert checks.note(run.id, token, 1, 8) == FormCheck(0, None)
    with begin(engine) as connection:
        kept = connection.execute(select(form_checks.c.run_id, form_checks.c.position, form_checks.c.refusal)).all()
        assert sorted(tuple(row[1:]) for row in kept if row.run_id == neighbour.id) == [(7, "no"), (8, None)]
        connection.execute(runs.delete().where(runs.c.id == run.id))
        assert {row.run_id for row in connection.execute(select(form_checks.c.run_id))} == {neighbour.id}
