"""What is done to a running service: which process is killed, paused or emptied next, by a seeded choice, for some minutes.

It knows nothing of runs and watchers (see subjects.py), nor of what is right.
"""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psycopg
import redis

from tests.integration.cluster import Podwire, Process

TERM_WITHIN_S = 30.0
Action = tuple[Callable[[], None], int]


class Chaos:
    """Does something bad every second or so. Every process comes back a moment after it was ended."""

    def __init__(self, podwire: Podwire, seed: int, lease_s: float) -> None:
        """`lease_s` is what a paused worker sleeps through."""
        self.podwire, self._random, self._lease_s = podwire, random.Random(seed), lease_s
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._busy: set[Process] = set()
        self._redis_down = threading.Lock()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def actions(self) -> list[Action]:
        """Return what may be done, each with its weight."""
        return [
            (self._end_some_web, 4),
            (self._end_some_worker, 4),
            (self._pause_some_worker, 2),
            (self._crash_redis, 2),
            (self._empty_redis, 2),
            (self._cut_subscribers, 2),
            (self._cut_database, 2),
        ]

    def wreak(self, until: float) -> None:
        """Go on until the monotonic time; then let everything come back."""
        actions = self.actions()
        choices, weights = [action for action, _ in actions], [weight for _, weight in actions]
        while time.monotonic() < until:
            time.sleep(self._random.uniform(0.2, 1.8))
            self._random.choices(choices, weights)[0]()
        for thread in self._threads:
            thread.join(120)
        for process in self.podwire.processes:
            process.send_group(signal.SIGCONT)
        self.podwire.wait_ready()

    # --- processes

    def _end_some_web(self) -> None:
        self._with(self.podwire.web, self._end)

    def _end_some_worker(self) -> None:
        self._with(self.podwire.workers, self._end)

    def _pause_some_worker(self) -> None:
        self._with(self.podwire.workers, self._pause)

    def _with(self, processes: list[Process] | list[object], work: Callable[[Process, bool, float], None]) -> None:
        """Do it to a process that nothing is done to, in a thread: other bad things happen meanwhile."""
        with self._lock:
            free = [one for one in processes if isinstance(one, Process) and one not in self._busy]
            if not free:
                return
            process = self._random.choice(free)
            self._busy.add(process)
        hard, pause_s = self._random.random() < 0.6, self._random.uniform(0, 1.5)
        self.begin(lambda: self._one(work, process, hard, pause_s))

    def begin(self, work: Callable[[], None]) -> None:
        """Do it in a thread, which is waited for in the end."""
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _one(self, work: Callable[[Process, bool, float], None], process: Process, hard: bool, pause_s: float) -> None:
        try:
            work(process, hard, pause_s)
        finally:
            with self._lock:
                self._busy.discard(process)

    def _end(self, process: Process, hard: bool, pause_s: float) -> None:
        kind = "web" if process in self.podwire.web else "worker"
        self._count(f"SIG{'KILL' if hard else 'TERM'} {kind}")
        if hard:
            process.kill()
        else:
            process.send(signal.SIGTERM)
            try:
                process.wait(TERM_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.faults.append(f"{process.name} did not end within {TERM_WITHIN_S:g} s of SIGTERM")
            process.kill()
        time.sleep(pause_s)
        process.start()

    def _pause(self, process: Process, hard: bool, pause_s: float) -> None:
        self._count("SIGSTOP worker")
        process.send_group(signal.SIGSTOP)
        time.sleep(self._lease_s * (1.6 if hard else 0.5) + pause_s)
        process.send_group(signal.SIGCONT)

    # --- Redis

    def _crash_redis(self) -> None:
        self._count("SIGKILL Redis")
        self.podwire.redis.kill()
        time.sleep(self._random.uniform(0, 1.5))
        self.podwire.redis.start()

    def _empty_redis(self) -> None:
        self._count("FLUSHALL")
        with self.podwire.redis.client() as client, suppress(redis.RedisError):
            client.flushall()

    def _cut_subscribers(self) -> None:
        self._count("CLIENT KILL pubsub")
        with self.podwire.redis.client() as client, suppress(redis.RedisError):
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    # --- PostgreSQL

    def _cut_database(self) -> None:
        """End every connection of the service, in the middle of whatever it does."""
        self._count("pg_terminate_backend")
        ours = self.podwire.database_url.rpartition("/")[2]
        with psycopg.connect(self.podwire.postgres.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (ours,))

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
