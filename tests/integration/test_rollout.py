"""What happens while one version follows another: a new replica beside one that leaves, two versions on one database."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from tests.integration.client import Client
from tests.integration.cluster import ROOT, Podwire
from tests.integration.front import Front
from tests.integration.test_streaming import ticking
from tests.integration.watcher import watch
from tests.servers import Postgres, wait_until

PODWIRE = [sys.executable, "-m", "app.cli.main"]
# What the next version may do to the tables, and no more: see tests/contract/test_store_migrations.py.
NEXT_VERSION = (
    "ALTER TABLE runs ADD COLUMN of_the_next text",
    "ALTER TABLE questions ADD COLUMN of_the_next integer NOT NULL DEFAULT 7",
    "CREATE TABLE of_the_next (id text PRIMARY KEY)",
    "UPDATE alembic_version SET version_num = '9999'",
)


class Poll(threading.Thread):
    """Asks all the time, over a new connection each time, and keeps what was not answered well."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self.stop = threading.Event()
        self.asked, self.faults = 0, list[str]()

    def run(self) -> None:
        while not self.stop.wait(0.01):
            try:
                answer = self._client.get("/v1/me")
                if answer.status != 200:
                    self.faults.append(f"{answer.status} {answer.body!r}")
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))
            self.asked += 1

    def more(self, count: int) -> None:
        """Wait until it has asked so many times more."""
        wanted = self.asked + count
        wait_until(lambda: self.asked >= wanted, f"{count} more requests were answered")


@contextmanager
def polled(podwire: Podwire) -> Iterator[tuple[Front, Client, Poll]]:
    """Put a proxy in front, and somebody who asks it all the time."""
    front = Front(podwire.web)
    known = podwire.client()
    client = Client([front.url], known.token, known.person)
    poll = Poll(client)
    wait_until(lambda: front.endpoints, "the proxy found a replica")
    poll.start()
    try:
        yield front, client, poll
    finally:
        poll.stop.set()
        poll.join(10)
        front.close()


@pytest.mark.trap("D11")
@pytest.mark.trap("D12")
def test_a_replica_takes_over_from_another_and_nobody_is_refused(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=2, workers=1, drain_s=1)
    old, new = podwire.web
    new.stop()
    script, expected = ticking(100)
    with polled(podwire) as (front, client, poll):
        # It goes on until it is told otherwise, when the old replica is gone.
        run = client.submit(f"{script}; ask go >/dev/null")
        watchers = [watch(client, run, kind) for kind in ("ws", "sse", "ws")]
        for watcher in watchers:
            watcher.wait_for("line 20\n")
        assert front.endpoints == ["A"]
        new.start()
        wait_until(lambda: front.endpoints == ["A", "B"], "the new replica was ready")
        # As a Service does: first the pod that goes gets no new connections, preStop holds its end back meanwhile.
        front.leave(old)
        wait_until(lambda: front.endpoints == ["B"], "the old replica got no more connections")
        poll.more(20)
        taken = front.passed["A"]
        old.send(signal.SIGTERM)
        assert old.wait() == 0
        poll.more(20)
        (question,) = client.wait_question(run)
        client.answer(question["id"], "on").must(200)
        for watcher in watchers:
            told = watcher.finish(expected)
            assert (told.gaps, told.duplicates, told.ends) == (0, 0, 1)
        assert [watcher.closes[0] for watcher in watchers if watcher.kind == "ws"] == [1012, 1012]
        assert (front.passed["A"], front.turned_away, poll.faults) == (taken, 0, [])


@pytest.mark.trap("D16")
def test_this_version_works_on_the_tables_of_the_next(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=2, workers=2)
    client = podwire.client()
    run = client.submit('echo begin; echo "heard $(ask --confirm Well?)"')
    watcher = watch(client, run)
    (question,) = client.wait_question(run)
    # The next version's Job migrates while this version serves; then some of this version start again.
    with psycopg.connect(podwire.postgres.url(podwire.database_url.rpartition("/")[2]), autocommit=True) as connection:
        for statement in NEXT_VERSION:
            connection.execute(statement)  # type: ignore[call-overload]
    for words in (["migrate"], ["migrate", "--wait", "5"]):
        assert subprocess.run([*PODWIRE, *words], env=podwire.environment, cwd=ROOT, timeout=60).returncode == 0
    for process in (podwire.web[0], podwire.workers[0]):
        assert process.stop() == 0
        process.start()
    podwire.wait_ready()
    client.answer(question["id"], True).must(200)
    watcher.finish(b"begin\nheard yes\n")
    for _ in range(4):
        assert client.wait_end(client.submit("true"))["status"] == "succeeded"
    podwire.must_run()


@pytest.mark.trap("D16")
def test_pods_that_start_at_once_wait_for_the_one_migration(other_podwire: Callable[..., Podwire], postgres: Postgres) -> None:
    environment = other_podwire(web=1, workers=1).environment
    name = f"podwire_{uuid.uuid4().hex}"
    environment = {**environment, "PODWIRE_DATABASE_URL": postgres.create_database(name)}
    waiting = [subprocess.Popen([*PODWIRE, "migrate", "--wait", "60"], env=environment, cwd=ROOT) for _ in range(3)]
    try:
        with psycopg.connect(postgres.url(name), autocommit=True) as connection:
            wait_until(lambda: _others(connection) == len(waiting), "all three look at the database")
            assert _tables(connection) == []
            jobs = [subprocess.Popen([*PODWIRE, "migrate"], env=environment, cwd=ROOT) for _ in range(2)]
            assert [one.wait(60) for one in [*jobs, *waiting]] == [0] * 5
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchall() == [(1,)]
    finally:
        for one in waiting:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)


def _others(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return int(str(connection.execute(asked).fetchall()[0][0]))


def _tables(connection: psycopg.Connection[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
