"""`scripts/bench workers`: many active runs followed by one worker process: its memory, CPU, threads, and how late output is.

The runs are real: the local launcher, an agent and a program each; the programs sleep and now and then print a line. Beside it
a plain Celery worker whose tasks only sleep, as many of them on the same kind of pool. The agents are not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import Celery
from sqlalchemy import func, select

from app.domain.ids import new_run_id
from app.domain.queue.admission import Limits
from app.domain.runs.run import Priority
from app.domain.runs.spec import RunSpec
from app.live.names import live_channel, parse_announcement
from app.store.schema.tables import runs
from app.store.store import make_store
from tests.bench.figures import percentile, short, table
from tests.bench.servers import BenchRedis, DurablePostgres, Server, raise_open_files
from tests.bench.stack import MANY, Stack, Worker
from tests.integration.cluster import kill_leftovers

START_WITHIN_S = 600.0
BATCH = 20
LIMITS = Limits(MANY, MANY, MANY, MANY)


@dataclass(frozen=True)
class Figures:
    """What one worker process needed while nothing began or ended."""

    rss_bytes: int
    threads: int
    cpu_share: float


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    raise_open_files()
    redis, postgres = BenchRedis(), DurablePostgres()
    redis.start()
    postgres.start()
    try:
        idle, lags, lines = _podwire(options, redis, postgres)
        peer = _peer(options, redis)
    finally:
        redis.remove()
        postgres.remove()
    print(
        f"\n{options.active} active runs in one worker process, {options.seconds:g} s; a line of each every {options.every:g} s"
    )
    rows = [_row("Podwire, with as many runs", idle), _row("Celery, with as many sleeping tasks", peer)]
    table(["", "RSS", "threads", "CPU of one core"], rows)
    print(f"  ratio of the memory: {short(idle.rss_bytes / peer.rss_bytes)}; goal: 500 runs in 400 MB")
    print(f"  {lines} lines; from the agent to the live log: p50 {_ms(lags, 50)} ms, p99 {_ms(lags, 99)} ms")


def _podwire(options: argparse.Namespace, redis: BenchRedis, postgres: DurablePostgres) -> tuple[Figures, list[float], int]:
    many = {"max_active": MANY, "max_active_per_owner": MANY, "worker_concurrency": options.active + 8}
    stack = Stack(redis.url, postgres.create_database("bench_workers"), **many)
    try:
        with stack.worker() as worker:
            _start_runs(stack, options)
            time.sleep(options.every)
            with _listening(redis) as lags:
                figures = _measured(worker, options.seconds)
                seen = list(lags)
        return figures, seen, len(seen)
    finally:
        kill_leftovers(Path(stack.environment["PODWIRE_STATE_DIR"]))
        stack.close()


def _start_runs(stack: Stack, options: argparse.Namespace) -> None:
    """Submit them a few at a time, so that the machine is not busy with their start alone."""
    store = make_store(stack.engine, "bench")
    command = ("/bin/sh", "-c", f"while :; do echo a line of output; sleep {options.every:g}; done")
    began = time.monotonic()
    for submitted in range(0, options.active, BATCH):
        for _ in range(min(BATCH, options.active - submitted)):
            store.submissions.submit(new_run_id(), stack.person, RunSpec(command=command), Priority.NORMAL, LIMITS)
        while _running(stack) < min(submitted + BATCH, options.active):
            if time.monotonic() > began + START_WITHIN_S:
                raise SystemExit(f"only {_running(stack)} runs have started")
            time.sleep(0.1)
    print(f"  {options.active} runs had started after {time.monotonic() - began:.0f} s", file=sys.stderr)


def _running(stack: Stack) -> int:
    with stack.engine.connect() as connection:
        return connection.execute(select(func.count()).where(runs.c.status == "running")).scalar_one()


def _peer(options: argparse.Namespace, redis: BenchRedis) -> Figures:
    environment = {"BENCH_REDIS_URL": redis.url}
    words = ["-A", "tests.bench.peers.sleep_app", "worker", "--pool", "threads", "--concurrency", str(options.active)]
    command = [sys.executable, "-m", "celery", *words, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    with Worker("celery", command, environment, 0) as worker:
        client = Celery(broker=redis.url, set_as_current=False)
        for _ in range(options.active):
            client.send_task("sleep", args=(3600,))
        client.close()
        deadline = time.monotonic() + 60
        while _status(worker, "Threads") < options.active and time.monotonic() < deadline:
            time.sleep(0.2)
        return _measured(worker, options.seconds)


def _measured(worker: Server, seconds: float) -> Figures:
    before = _cpu_s(worker)
    time.sleep(seconds)
    share = (_cpu_s(worker) - before) / seconds
    return Figures(_status(worker, "VmRSS") * 1024, _status(worker, "Threads"), share)


@contextmanager
def _listening(redis: BenchRedis) -> Iterator[list[float]]:
    """Collect how long after the agent noted it each output reached the live log, in seconds."""
    lags: list[float] = []
    stop = threading.Event()

    def listen() -> None:
        with redis.client() as client, client.pubsub() as subscription:
            subscription.psubscribe(live_channel("*").replace("{", "\\{"))
            while not stop.is_set():
                message = subscription.get_message(timeout=0.2)
                if message and message["type"] == "pmessage":
                    now = time.time()
                    events = map(json.loads, parse_announcement(message["data"]).payloads)
                    lags.extend(now - event["time"] for event in events if event["kind"] == "output")

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield lags
    finally:
        stop.set()
        thread.join()


def _status(worker: Server, name: str) -> int:
    text = Path(f"/proc/{worker.pids()[0]}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")))


def _cpu_s(worker: Server) -> float:
    fields = Path(f"/proc/{worker.pids()[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _row(name: str, figures: Figures) -> list[str]:
    return [name, f"{figures.rss_bytes / 1e6:.0f} MB", str(figures.threads), f"{figures.cpu_share * 100:.0f} %"]


def _ms(lags: list[float], percent: float) -> str:
    return short(percentile(lags, percent) * 1000)
