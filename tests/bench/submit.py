"""`scripts/bench submit`: accepted runs per second, beside a bare Flask view that does one `apply_async`.

Both on gunicorn's gevent worker with one process and the same Redis. Podwire without a worker, once with every place taken (the
runs stay in the queue) and once with places for all (each run is dispatched and published as well).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

from tests.bench.figures import median, percentile, short, spread, table
from tests.bench.poster import Posted, post, request
from tests.bench.servers import GUNICORN, BenchRedis, DurablePostgres, Server, raise_open_files, unused_port
from tests.bench.stack import MANY, Stack

WARM_UP = 50
SCRIPT = "import time\nfor number in range(100):\n    print(number, flush=True)\n    time.sleep(1)\n"
BODY = {"language": "python", "script": SCRIPT, "labels": {"purpose": "bench"}, "timeout": 600}


@dataclass(frozen=True)
class Side:
    """A server and what is posted to it."""

    name: str
    server: Callable[[], Server]
    path: str
    headers: list[str]
    body: bytes = json.dumps(BODY).encode()


@dataclass(frozen=True)
class Took:
    """One round: what was posted, and the server's CPU time per request in seconds."""

    posted: Posted
    cpu_s: float


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    raise_open_files()
    redis, postgres = BenchRedis(), DurablePostgres() if "postgresql" in options.databases else None
    redis.start()
    stacks: list[Stack] = []
    try:
        if postgres:
            postgres.start()
        sides = [_bare(redis)]
        for database in options.databases:
            for dispatching in (False, True):
                url = postgres.create_database(f"bench{len(sides)}") if database == "postgresql" and postgres else None
                active = MANY if dispatching else 0
                stacks.append(Stack(redis.url, url, max_active=active, max_active_per_owner=active))
                how = "queued and dispatched" if dispatching else "queued"
                sides.append(Side(f"podwire, {database}, {how}", stacks[-1].web, "/v1/runs", stacks[-1].headers()))
        _measure(sides, options)
    finally:
        for stack in stacks:
            stack.close()
        redis.remove()
        if postgres:
            postgres.remove()


def _bare(redis: BenchRedis) -> Side:
    def server() -> Server:
        port = unused_port()
        command = [*GUNICORN, "-b", f"127.0.0.1:{port}", "tests.bench.peers.queue_app:app"]
        return Server("bare", command, {"BENCH_REDIS": redis.url}, port)

    return Side("bare apply_async", server, "/jobs", [])


def _measure(sides: list[Side], options: argparse.Namespace) -> None:
    found: dict[str, list[Took]] = defaultdict(list)
    for _ in range(options.rounds):
        for side in sides:
            found[side.name].append(_take(side, options.requests, options.connections))
    print(f"\n{options.requests:,} submissions over {options.connections} connections; median (lowest…highest) of rounds")
    bare = median(took.posted.rate for took in found[sides[0].name])
    rows = [
        [
            name,
            spread(took.posted.rate for took in tooks),
            spread(percentile(took.posted.latencies, 50) * 1000 for took in tooks),
            spread(percentile(took.posted.latencies, 99) * 1000 for took in tooks),
            short(median(took.cpu_s * 1000 for took in tooks)),
            " ".join(f"{status}" for status in sorted(set().union(*(took.posted.statuses for took in tooks)))),
            short(median(took.posted.rate for took in tooks) / bare),
        ]
        for name, tooks in found.items()
    ]
    table(["server", "requests/s", "p50 ms", "p99 ms", "server CPU ms each", "statuses", "it ÷ bare"], rows)


def _take(side: Side, count: int, connections: int) -> Took:
    with side.server() as server:
        text = request("POST", side.path, server.port, side.headers, side.body)
        warm = post(server.port, repeat(text, WARM_UP), connections)
        if set(warm.statuses) - {201, 202}:
            raise SystemExit(f"{side.name} answered:\n{warm.sample.decode(errors='replace')}\n{server.tail()}")
        time.sleep(0.2)
        cpu = server.cpu_s()
        posted = post(server.port, repeat(text, count), connections)
        return Took(posted, (server.cpu_s() - cpu) / count)
