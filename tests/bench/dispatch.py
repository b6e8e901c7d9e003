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

from kombu import Connection as Broker
from sqlalchemy import Connection, Engine, insert, text

from app.domain.admission import Limits
from app.domain.run import Status
from app.domain.spec import RunSpec
from app.store import lanes, order
from app.store.engine import begin, make_engine, reading
from app.store.migrate import migrate
from app.store.rows import spec_text
from app.store.runs import RunStore
from app.store.tables import runs, tallies
from tests.bench.figures import percentile, short, table
from tests.bench.servers import BenchRedis, DurablePostgres
from tests.bench.stack import MANY

SMALL_OWNERS = 1_000
SAMPLES = 60
LIMITS = Limits(MANY, MANY, MANY, MANY, ageing_s=1800.0)
SPEC = spec_text(RunSpec(language="python", script="print('hello')\n", labels={"purpose": "bench"}))

# What a queue without fair shares would ask.
NAIVE = text(
    "SELECT r.id FROM runs r JOIN tallies o ON o.scope = 'owner:' || r.owner_id WHERE r.status = 'queued' AND o.active < :active"
    " ORDER BY r.priority_order, r.sequence LIMIT 1"
)


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"\nThe next of N queued runs, one owner with 90 %, {SMALL_OWNERS:,} with the rest, five priorities; ms, median (p99)")
    rows = []
    for database in options.databases:
        for queued in options.queued:
            with _database(database, queued) as engine:
                rows.append([f"{database}, {queued:,} queued", *_measure(engine)])
    for queued in options.queued:
        rows.append([f"celery on redis, {queued:,} queued", _celery(queued), "-", "-", "-", "-"])
    table(["", "select next", "whole dispatch", "naive ORDER BY", "line of all", "one place in it"], rows)


def _measure(engine: Engine) -> list[str]:
    store = RunStore(engine)

    def ask(work: Callable[[Connection], object]) -> Callable[[], object]:
        def one() -> object:
            with reading(engine) as connection:
                return work(connection)

        return one

    some = store.queue(50)[-1][1]
    line = store.line(LIMITS.ageing_s)
    return [
        _timed(ask(lambda connection: order.next_head(connection, LIMITS))),
        _timed(lambda: store.dispatch_next(LIMITS)),
        _timed(ask(lambda connection: connection.execute(NAIVE, {"active": MANY}).fetchall())),
        _timed(lambda: store.line(LIMITS.ageing_s), 10),
        _timed(lambda: store.position(some, LIMITS.ageing_s, line), 10),
    ]


def _timed(work: Callable[[], object], samples: int = SAMPLES) -> str:
    work()
    took = []
    for _ in range(samples):
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return f"{short(percentile(took, 50))} ({short(percentile(took, 99))})"


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
    now = RunStore(engine).now()
    rows = [
        {
            "id": f"r{number}",
            "owner_id": "u-many" if number % 10 else f"u-{number // 10 % SMALL_OWNERS}",
            "owner_name": "somebody",
            "priority_order": (number // 10 // SMALL_OWNERS if number % 10 == 0 else number) % 5,
            "status": Status.QUEUED.value,
            "stdin": False,
            "created_at": now - (queued - number) * 0.02,
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


def _celery(queued: int) -> str:
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
