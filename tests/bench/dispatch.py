"""`scripts/bench dispatch`: finding the run that is next among up to 100,000 queued ones, of which one owner holds nine in ten.

Beside it: the plain ORDER BY over the same table that a queue without fair shares would begin with, and what Celery's own
priority queues on Redis need to hand out a message (they know neither owners nor limits). Then what places in the queue cost.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from kombu import Connection as Broker
from sqlalchemy import Connection, Engine, insert, text

from app.domain.queue.admission import Limits
from app.domain.runs.run import Status
from app.domain.runs.spec import RunSpec
from app.store.engine import begin, make_engine, reading
from app.store.queue import lanes, order
from app.store.runs.rows import spec_text
from app.store.schema.migrate import migrate
from app.store.schema.queue_tables import tallies
from app.store.schema.tables import runs
from app.store.store import make_store
from tests.bench.figures import percentile, short, table
from tests.bench.servers import BenchRedis, DurablePostgres
from tests.bench.stack import MANY

SMALL_OWNERS = 1_000
SAMPLES = 60
LIMITS = Limits(MANY, MANY, MANY, MANY, ageing_s=1800.0)
SPEC = spec_text(RunSpec(language="python", script="print('hello')\n", labels={"purpose": "bench"}))

HOLD_UP = text("UPDATE tallies SET active = :many WHERE scope = 'owner:u-many'")

# What a queue without fair shares would ask.
NAIVE = text(
    "SELECT r.id FROM runs r JOIN tallies o ON o.scope = 'owner:' || r.owner_id WHERE r.status = 'queued' AND o.active < :active"
    " ORDER BY r.priority_order, r.sequence LIMIT 1"
)


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"\nThe next of N queued runs, one owner with 90 %, {SMALL_OWNERS:,} with the rest, five priorities.")
    print("Milliseconds: median (lowest…p99).")
    print("Held up: the one owner has all the places that one owner may have.")
    rows, celery = [], {queued: _celery(queued) for queued in options.queued}
    for database in options.databases:
        for queued in options.queued:
            with _database(database, queued) as engine:
                rows.append([f"{database}, {queued:,}", *_measure(engine, percentile(celery[queued], 50))])
    rows += [[f"celery on redis, {queued:,}", _shown(took), *["-"] * 10] for queued, took in celery.items()]
    table(
        [
            "queued",
            "select",
            "dispatch",
            "÷ celery",
            "naive",
            "it ÷ select",
            "held up: select",
            "naive",
            "it ÷ select",
            "all places",
            "one place",
            "and the next",
        ],
        rows,
    )


def _measure(engine: Engine, celery_ms: float) -> list[str]:
    store = make_store(engine, "bench")
    limits = replace(LIMITS, owner_active=MANY // 2)

    def ask(work: Callable[[Connection], object]) -> Callable[[], object]:
        def one() -> object:
            with reading(engine) as connection:
                return work(connection)

        return one

    def select_both() -> tuple[list[float], list[float]]:
        naive = {"active": limits.owner_active}
        return (
            _timed(ask(lambda connection: order.next_head(connection, limits))),
            _timed(ask(lambda connection: connection.execute(NAIVE, naive).fetchall())),
        )

    free = select_both()
    dispatching = _timed(lambda: store.queue.dispatch_next(limits))
    with begin(engine) as connection:
        connection.execute(HOLD_UP, {"many": limits.owner_active})
    held_up = select_both()
    positions = _timed(lambda: store.queue.positions(LIMITS.ageing_s), 10)
    known, some = store.queue.positions(LIMITS.ageing_s), store.queue.first(1, f"u-{SMALL_OWNERS - 1}")[0][1]
    alone = _timed(lambda: store.queue.position(some, LIMITS.ageing_s), 10)
    again = _timed(lambda: (store.queue.position(some, LIMITS.ageing_s, known), store.counts.start_conditions(some, LIMITS)))
    return [
        _shown(free[0]),
        _shown(dispatching),
        short(percentile(dispatching, 50) / celery_ms),
        _shown(free[1]),
        short(percentile(free[1], 50) / percentile(free[0], 50)),
        _shown(held_up[0]),
        _shown(held_up[1]),
        short(percentile(held_up[1], 50) / percentile(held_up[0], 50)),
        _shown(positions),
        _shown(alone),
        _shown(again),
    ]


def _timed(work: Callable[[], object], samples: int = SAMPLES) -> list[float]:
    work()
    took = []
    for _ in range(samples):
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return took


def _shown(took: list[float]) -> str:
    return f"{short(percentile(took, 50))} ({short(min(took))}…{short(percentile(took, 99))})"


@contextmanager
def _database(kind: str, queued: int) -> Iterator[Engine]:
    """A database with so many queued runs."""
    server = DurablePostgres() if kind == "postgresql" else None
    if server:
        server.start()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            database = server.create_database("bench") if server else f"sqlite:///{folder}/podwire.db"
            migrate(database)
            engine = make_engine(database)
            _fill(engine, queued)
            yield engine
            engine.dispose()
    finally:
        if server:
            server.remove()


def _fill(engine: Engine, queued: int) -> None:
    now = make_store(engine, "bench").clock.now()
    many = queued * 9 // 10
    rows = [
        {
            "id": f"r{number}",
            "owner_id": "u-many" if number < many else f"u-{number % SMALL_OWNERS}",
            "owner_name": "somebody",
            "priority_order": (number if number < many else (number - many) // SMALL_OWNERS) % 5,
            "status": Status.QUEUED.value,
            "stdin": False,
            "created_at": now - (queued - number) * 0.01,
            "queue_deadline_at": now + 86400,
            "spec": SPEC,
        }
        for number in range(queued)
    ]
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["owner_id"])] = counts.get(str(row["owner_id"]), 0) + 1
    owners = [{"scope": f"owner:{owner}", "owner_id": owner, "queued": count} for owner, count in counts.items()]
    with begin(engine) as connection:
        for start in range(0, queued, 10_000):
            connection.execute(insert(runs), rows[start : start + 10_000])
        connection.execute(insert(tallies), [{"scope": "all", "owner_id": None, "queued": queued}, *owners])
        lanes.refill(connection)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _celery(queued: int) -> list[float]:
    """What kombu needs to take one message off a queue of five priorities, as a Celery worker does."""
    redis = BenchRedis()
    redis.start()
    try:
        options = {"priority_steps": list(range(10)), "queue_order_strategy": "priority"}
        with Broker(redis.url, transport_options=options) as broker, broker.SimpleQueue("bench", serializer="json") as queue:
            for number in range(queued):
                queue.put({"id": f"r{number}"}, priority=1 + 2 * (number % 5))
            return _timed(lambda: queue.get(timeout=1).ack())
    finally:
        redis.remove()
