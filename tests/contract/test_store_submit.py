"""Submitting: limits hold exactly over several processes, and one key is one run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from app.domain.errors import IdempotencyMismatch, LimitReached, QueueFull
from app.domain.ids import new_run_id
from app.domain.queue.admission import Limits
from app.domain.queue.limits import ScopeLimits, parse_scope
from app.domain.runs.run import Priority, Run, Status
from app.domain.runs.spec import RunSpec
from app.store.engine import make_engine
from app.store.schema.migrate import migrate
from app.store.schema.tables import runs as runs_table
from tests.contract.conftest import house_on

SPEC = RunSpec(
    script="print('ü\\0')",
    language="python",
    args=("a", "b"),
    env={"KEY": "value\0\ud800"},
    files={"data.txt": "x"},
    stdin=True,
    labels={"team": "red", "odd": "nul\0"},
)


def test_a_run_comes_back_as_it_was_submitted(house):
    run, created, _ = house.store.submissions.submit(new_run_id(), house.ann, SPEC, Priority.HIGH, house.limits)
    assert created and run.status is Status.QUEUED and run.token == 0 and run.spec == SPEC
    assert run.queue_deadline_at == pytest.approx(run.created_at + SPEC.queue_timeout_s, abs=0.1)
    assert abs(run.created_at - house.store.clock.now()) < 5
    assert house.store.runs.get(run.id) == run
    assert house.store.runs.get("nobody") is None


def test_secrets_are_kept_apart_from_the_spec_and_forgotten_at_the_end(house, engine):
    secrets = {"KEY": "s3cret", "ODD": "\0\ud800'--"}
    spec = replace(SPEC, secrets=("KEY", "ODD"))

    def submit(key):
        return house.store.submissions.submit(
            new_run_id(), house.ann, spec, Priority.HIGH, house.limits, secrets=secrets, idempotency_key=key, request_hash="h"
        )

    run, other = submit("1")[0], submit("2")[0]
    assert submit("1")[:2] == (run, False), "and a repeated request stores nothing again"
    assert house.store.runs.get(run.id).spec.secrets == ("KEY", "ODD")
    with engine.connect() as connection:
        row = str(connection.execute(select(runs_table).where(runs_table.c.id == run.id)).one())
    assert "KEY" in row and "s3cret" not in row
    assert house.store.secrets.of_run(run.id) == house.store.secrets.of_run(other.id) == secrets
    house.ended(run)
    assert house.store.secrets.of_run(run.id) == {}
    assert house.store.secrets.of_run(other.id) == secrets, "only of the run that ended"


def test_a_failed_statement_does_not_quote_what_it_was_to_store(engine):
    with pytest.raises(SQLAlchemyError) as failed, engine.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "s3cret"})
    assert "s3cret" not in str(failed.value)


def test_deleted_secrets_are_not_left_in_the_file(tmp_path):
    url = f"sqlite:///{tmp_path}/podwire.db"
    migrate(url)
    engine = make_engine(url)
    house = house_on(engine)
    spec = replace(SPEC, secrets=("KEY",))
    run, *_ = house.store.submissions.submit(
        new_run_id(), house.ann, spec, Priority.LOW, house.limits, secrets={"KEY": "s3cret" + "x" * 20_000}
    )

    def kept():
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return b"s3cretxxx" in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert kept()
    house.ended(run)
    assert not kept()
    engine.dispose()


@pytest.mark.trap("C3")
def test_fifty_submits_at_once_over_two_processes_accept_exactly_the_limit(house, other_house, at_once):
    limits = Limits(owner_pending=20, queue_length=1000)

    def submit(h):
        return lambda: h.store.submissions.submit(new_run_id(), h.ann, SPEC, Priority.NORMAL, limits)[0]

    results = at_once(*(submit(h) for h in (house, other_house) * 25))
    accepted = [r for r in results if isinstance(r, Run)]
    refused = [r for r in results if isinstance(r, LimitReached)]
    assert (len(accepted), len(refused)) == (20, 30), results
    assert house.counts() == ((20, 0, 0), (20, 0, 0))
    assert refused[0].extensions["limit"] == 20 and refused[0].extensions["current"] == 20
    assert len({r.sequence for r in accepted}) == 20


@pytest.mark.trap("C2", "C4", "C10")
def test_one_owner_s_limit_is_not_another_s_and_the_queue_has_its_own(house):
    limits = Limits(owner_pending=1, queue_length=2)
    tight = replace(house, limits=limits)
    first = tight.queued()
    with pytest.raises(LimitReached):
        tight.queued()
    tight.queued(house.bob)
    with pytest.raises(QueueFull) as full:
        tight.queued(house.root)
    assert full.value.extensions == {"limit": 2, "current": 2, "retry_after_s": 30}
    assert house.store.counts.of_owner(house.root.id)[0].pending == 0, "a refused run is not counted"
    tight.ended(first, Status.CANCELLED)
    tight.queued()


@pytest.mark.trap("C14")
def test_the_same_key_and_request_is_the_same_run_and_counts_once(house, other_house, at_once):
    def submit(h, request="h1", key="k"):
        return h.store.submissions.submit(
            new_run_id(), h.ann, SPEC, Priority.NORMAL, Limits(owner_pending=1), idempotency_key=key, request_hash=request
        )

    results = at_once(*(lambda h=h: submit(h) for h in (house, other_house) * 8))
    assert [r for r in results if isinstance(r, Exception)] == [], "a repeated request is not refused by the limit it fills"
    assert len({run.id for run, *_ in results}) == 1 and sum(created for _, created, _ in results) == 1
    assert house.counts() == ((1, 0, 0), (1, 0, 0))
    with pytest.raises(IdempotencyMismatch):
        submit(house, request="h2")
    assert house.counts() == ((1, 0, 0), (1, 0, 0))
    run, created, _ = house.store.submissions.submit(
        new_run_id(), house.bob, SPEC, Priority.NORMAL, Limits(), idempotency_key="k", request_hash="h3"
    )
    assert created and run.owner_id == house.bob.id, "another owner's key is another key"


def test_whoever_takes_a_run_in_knows_that_it_cannot_start(house):
    def may_start(**limits):
        return house.store.submissions.submit(new_run_id(), house.ann, SPEC, Priority.NORMAL, Limits(**limits)).may_start

    assert may_start(active=1)
    house.store.queue.dispatch_next(Limits())
    assert not may_start(active=1) and may_start(active=2)
    house.store.limits.set(parse_scope("all"), ScopeLimits(active=2))
    assert may_start(active=1), "what an admin set counts"
    house.store.queue_admin.set_gates(house.bob, paused=True)
    assert not may_start(active=2)


def test_lists_show_the_newest_first_and_filter(house):
    mine = [house.queued(labels={"team": team}) for team in ("red", "blue", "red")]
    theirs = house.queued(house.bob, Priority.HIGH, labels={"team": "red"})

    def ids(*args, **kw):
        return [run.id for run in house.store.runs.list(*args, **kw)]

    assert ids(house.ann.id) == [run.id for run in reversed(mine)]
    assert ids(None, limit=2) == [theirs.id, mine[2].id]
    assert ids(None, before=mine[2].sequence, limit=10) == [mine[1].id, mine[0].id]
    assert ids(house.ann.id, label=("team", "red")) == [mine[2].id, mine[0].id]
    assert ids(None, priority=Priority.HIGH) == [theirs.id]
    house.ended(mine[0], Status.CANCELLED)
    assert ids(None, statuses=[Status.CANCELLED, Status.FAILED]) == [mine[0].id]
