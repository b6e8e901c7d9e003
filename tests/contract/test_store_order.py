"""The order in SQL is the order of the pure rule, whatever has happened; and looking for the next run looks at no other."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import Engine, Executable, event, select, update

from app.domain.person import Person
from app.domain.queue.admission import Limits
from app.domain.queue.fairshare import Head, Share, choose, dispatch, line_up
from app.domain.runs.run import Priority, Status
from app.store.engine import begin, reading
from app.store.queue import lanes, order
from app.store.schema.queue_tables import shares, tallies
from app.store.schema.tables import runs
from tests.contract.conftest import House

HOUR = 3600.0
PEOPLE = [Person(f"u-{name}", name) for name in "abcdef"]
GROUPS = {"u-a": "red", "u-b": "red", "u-c": "blue"}
WEIGHTS = {"owner:u-a": 3, "owner:u-d": 2, "owner:u-e": 7, "group:red": 4}


@dataclass
class Model:
    """What the pure rule knows of the queue."""

    ageing_s: float
    limits: Limits
    heads: dict[str, Head] = field(default_factory=dict)
    shares: dict[tuple[str, int], Share] = field(default_factory=dict)
    active: dict[str, list[str]] = field(default_factory=dict)

    def weight(self, scope: str) -> int:
        return WEIGHTS.get(scope, 1)

    def take(self, now: float) -> str | None:
        open_ = [head for head in self.heads.values() if len(self.active.get(head.owner, [])) < self.limits.owner_active]
        head = choose(open_, self.shares, now, self.ageing_s)
        if head is None:
            return None
        self.shares.update(dispatch(head, self.shares, self.weight, now, self.ageing_s))
        run = next(run for run, known in self.heads.items() if known == head)
        del self.heads[run]
        self.active.setdefault(head.owner, []).append(run)
        return run

    def line(self, now: float) -> list[str]:
        ids = {head: run for run, head in self.heads.items()}
        return [ids[head] for head in line_up(self.heads.values(), self.shares, self.weight, now, self.ageing_s)]


def plan_of(engine: Engine, statement: Executable, values: dict[str, object]) -> str:
    """Return how the database would execute it. PostgreSQL scans small tables: it is told to do so only if it must."""

    def explain(conn: Any, cursor: Any, sql: str, parameters: Any, *rest: Any) -> tuple[str, Any]:
        return f"EXPLAIN {'QUERY PLAN ' if engine.dialect.name == 'sqlite' else ''}{sql}", parameters

    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        event.listen(engine, "before_cursor_execute", explain, retval=True)
        try:
            result = connection.execute(statement, values)
            return "\n".join(str(row) for row in result.cursor.fetchall())
        finally:
            event.remove(engine, "before_cursor_execute", explain)


def set_up(engine: Engine) -> None:
    """Give owners and groups their rows."""
    rows = [{"scope": f"owner:{p.id}", "owner_id": p.id, "group_name": GROUPS.get(p.id)} for p in PEOPLE]
    rows += [{"scope": f"group:{name}", "owner_id": None, "group_name": None} for name in ("red", "blue")]
    with begin(engine) as connection:
        connection.execute(tallies.insert(), rows)
        for scope, weight in WEIGHTS.items():
            connection.execute(update(tallies).where(tallies.c.scope == scope).values(weight=weight))


def let_an_hour_pass(engine: Engine, model: Model) -> None:
    with begin(engine) as connection:
        connection.execute(update(runs).values(created_at=runs.c.created_at - HOUR))
        lanes.refill(connection)
    model.heads = {run: replace(head, since=head.since - HOUR) for run, head in model.heads.items()}


@pytest.mark.trap("C5", "C6", "C18")
@pytest.mark.parametrize(("seed", "ageing_s"), [(1, 0.0), (2, 0.0), (3, HOUR), (4, HOUR), (5, HOUR)])
def test_the_order_in_sql_is_the_order_of_the_rule(house: House, engine: Engine, seed: int, ageing_s: float) -> None:
    dice = random.Random(seed)
    limits = Limits(owner_active=4, active=100, ageing_s=ageing_s)
    set_up(engine)
    model = Model(ageing_s, limits)
    for _ in range(90):
        now = house.store.clock.now()
        match dice.choice(["submit", "submit", "submit", "dispatch", "dispatch", "end", "priority", "cancel", "hour"]):
            case "submit":
                owner = dice.choice(PEOPLE)
                run = house.queued(owner, dice.choice(list(Priority)))
                model.heads[run.id] = Head(owner.id, GROUPS.get(owner.id), run.priority.order, run.created_at, run.sequence)
            case "hour" if ageing_s:
                let_an_hour_pass(engine, model)
            case "dispatch":
                started = house.store.queue.dispatch_next(limits)
                assert (started.id if started else None) == model.take(now)
            case "end":
                if taken := [run for of_owner in model.active.values() for run in of_owner]:
                    ended = dice.choice(taken)
                    house.ended(house.store.runs.get(ended), Status.FAILED)
                    model.active = {owner: [r for r in of_owner if r != ended] for owner, of_owner in model.active.items()}
            case "priority" if model.heads:
                run_id, priority = dice.choice(list(model.heads)), dice.choice(list(Priority))
                house.store.queue_admin.set_priority(run_id, priority, PEOPLE[0])
                model.heads[run_id] = replace(model.heads[run_id], band=priority.order)
            case "cancel" if model.heads:
                run_id = dice.choice(list(model.heads))
                house.ended(house.store.runs.get(run_id), Status.CANCELLED)
                del model.heads[run_id]
    now = house.store.clock.now()
    line = house.store.queue.first(100, ageing_s=ageing_s)
    assert [run.id for _, run in line] == model.line(now)
    assert [house.store.queue.position(run, ageing_s) for _, run in line] == list(range(1, len(line) + 1))
    with reading(engine) as connection:
        assert {(row.scope, row.band): Share(row.come, row.turn) for row in connection.execute(select(shares))} == model.shares
    assert house.store.lanes.repair() is False, "the lanes were right all the time"
    for run_id in [run for of_owner in model.active.values() for run in of_owner]:
        house.ended(house.store.runs.get(run_id), Status.FAILED)
    everything = Limits(owner_active=1000, active=1000, ageing_s=ageing_s)
    assert [house.store.queue.dispatch_next(everything).id for _ in line] == [run.id for _, run in line], "positions were true"


def test_a_run_that_waits_for_its_time_keeps_nobody_waiting_and_has_its_place_afterwards(house: House, engine: Engine) -> None:
    held, second, third = house.queued(), house.queued(), house.queued()

    def hold(until: float) -> None:
        with begin(engine) as connection:
            connection.execute(update(runs).where(runs.c.id == held.id).values(not_before=until))
            lanes.refill(connection)

    hold(house.store.clock.now() + HOUR)
    assert house.store.queue.dispatch_next(house.limits).id == second.id
    assert house.store.queue.position(held) == 1
    hold(house.store.clock.now() - 1)
    assert house.store.queue.dispatch_next(house.limits).id == held.id
    assert house.store.queue.dispatch_next(house.limits).id == third.id


def test_what_a_process_of_an_older_version_did_is_found(house: House, engine: Engine) -> None:
    first, second = house.queued(), house.queued(house.bob)
    with begin(engine) as connection:
        connection.execute(lanes.CLEAR)
    assert house.store.queue.dispatch_next(house.limits) is None
    assert house.store.lanes.repair() is True
    with begin(engine) as connection:
        connection.execute(update(runs).where(runs.c.id == first.id).values(status="expired"))
    assert house.store.queue.dispatch_next(house.limits).id == second.id


def test_the_next_run_is_found_without_looking_at_the_others(house: House, engine: Engine, dialect: str) -> None:
    """By plan: the run is read by its key, and a lane's next head by the index of the lanes."""
    for _ in range(20):
        house.queued()
    lane = {"in_owner": "u-ann", "in_band": 2, "in_class": "", "in_sequence": 1}
    next_ = {"in_band": 2, "owner_active": 1, "group_active": 1, **order._times(2, 1e9, 0.0)}
    for statement, given, index in (
        (order.NEXT, next_, ""),
        (lanes.LEAVE, lane, "ix_runs_lane"),
        (lanes.RELEASE, {}, "ix_runs_not_before"),
    ):
        plan = plan_of(engine, statement, given)
        assert not re.search(r"Seq Scan on runs|SCAN runs(?! USING)", plan), plan
        assert index in plan, plan
