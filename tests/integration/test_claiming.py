"""Who executes a run: exactly one attempt, started once, whatever is delivered twice and whoever dies or sleeps."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from celery import Celery

from config.celery import make_celery
from config.settings import Settings
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import watch
from tests.servers import wait_until


@contextmanager
def broker(podwire: Podwire) -> Iterator[Celery]:
    """Connect to the broker as Podwire's own processes do."""
    celery = make_celery(Settings.from_env(podwire.environment))
    try:
        yield celery
    finally:
        celery.close()


def counted(starts: Path, rest: str) -> str:
    """Return a script that notes its start, with the folder that it runs in, before it does the rest."""
    return f'echo "$PODWIRE_RUN_ID $PWD" >> {starts}; {rest}'


def started(starts: Path) -> list[str]:
    """Return the ids of the runs that were started, one for every start."""
    return [line.split()[0] for line in starts.read_text().splitlines()] if starts.exists() else []


@pytest.mark.trap("R1")
@pytest.mark.trap("R2")
@pytest.mark.trap("R4")
@pytest.mark.trap("C14")
def test_messages_that_come_many_times_start_one_attempt(podwire: Podwire, client: Client, starts: Path) -> None:
    runs = [client.submit(counted(starts, "echo begin; sleep 0.5; echo end")) for _ in range(5)]
    watchers = [watch(client, run) for run in runs]
    with broker(podwire) as celery:
        for run in runs:
            for _ in range(3):
                celery.send_task("runs.supervise", args=(run,), priority=5)
        told = [watcher.finish(b"begin\nend\n") for watcher in watchers]
        for run in runs:
            # Also long after: a message of the day before must find nothing to do.
            celery.send_task("runs.supervise", args=(run,), priority=1)
        unknown = "r" + "z" * 19
        celery.send_task("runs.supervise", args=(unknown,), priority=1)
    last = client.submit("true", priority="background")
    client.wait_end(last)
    assert sorted(started(starts)) == sorted(runs)
    for transcript in told:
        assert [event["status"] for event in transcript.of_kind("status")] == ["starting", "running"]
        assert transcript.end["status"] == "succeeded" and transcript.end["epoch"] == 1
    assert not any(worker.logged("Traceback") for worker in podwire.workers)


@pytest.mark.trap("R5")
@pytest.mark.trap("C13")
def test_runs_of_killed_workers_go_on_and_end(podwire: Podwire, client: Client, starts: Path) -> None:
    script = counted(starts, "for i in $(seq 60); do echo $i; sleep 0.05; done; exit 4")
    expected = b"".join(b"%d\n" % number for number in range(1, 61))
    runs = [client.submit(script) for _ in range(6)]
    watchers = [watch(client, run, "sse" if number % 2 else "ws") for number, run in enumerate(runs)]
    for watcher in watchers:
        watcher.wait_for("10\n")
    for worker in podwire.workers:
        worker.kill()
    # One comes back only: whoever is left takes everything over.
    podwire.workers[1].start()
    for watcher in watchers:
        end = watcher.finish(expected).end
        assert (end["status"], end["exit_code"]) == ("failed", 4)
    podwire.workers[0].start()
    assert sorted(started(starts)) == sorted(runs)


@pytest.mark.trap("R5")
def test_a_worker_that_slept_longer_than_its_lease_harms_nothing(podwire: Podwire, client: Client, starts: Path) -> None:
    script = counted(starts, "for i in $(seq 180); do echo $i; sleep 0.05; done")
    expected = b"".join(b"%d\n" % number for number in range(1, 181))
    runs = [client.submit(script) for _ in range(6)]
    watchers = [watch(client, run) for run in runs]
    for watcher in watchers:
        watcher.wait_for("5\n")
    sleeper = podwire.workers[0]
    sleeper.send_group(signal.SIGSTOP)
    try:
        time_asleep = time.monotonic()
        for watcher in watchers:
            # Everything goes on while it sleeps, so the other worker has taken over ...
            watcher.wait_for("120\n", 40)
        assert time.monotonic() - time_asleep < 60
    finally:
        sleeper.send_group(signal.SIGCONT)
    for watcher in watchers:
        # ... and what it believes when it wakes up changes nothing.
        watcher.finish(expected)
    assert sorted(started(starts)) == sorted(runs)


@pytest.mark.trap("R7")
def test_a_cold_replica_knows_as_much_as_a_warm_one(podwire: Podwire, client: Client) -> None:
    asking = client.at(0).submit("echo got $(ask 'Name?')")
    sleeping = client.at(0).submit("sleep 60", grace=0)
    (question,) = client.at(0).wait_question(asking)
    client.at(0).wait_status(sleeping, "running")
    podwire.web[1].stop()
    podwire.web[1].start()
    podwire.wait_ready()
    # The very first requests that this process sees.
    client.at(1).answer(question["id"], "Ann").must(200)
    client.at(1).cancel(sleeping).must(200, 202)
    assert client.wait_end(asking)["status"] == "succeeded"
    assert client.wait_end(sleeping)["status"] == "cancelled"
    assert client.output(asking) == b"got Ann\n"


@pytest.mark.trap("C15")
def test_cancelling_at_any_moment_gives_one_end_and_frees_the_place_once(small: Podwire) -> None:
    client = small.client()

    def one(number: int) -> str:
        run = client.submit("sleep 0.05; echo done", grace=0)
        time.sleep(random.uniform(0, 0.4))
        client.cancel(run).must(200, 202)
        if number % 3 == 0:
            client.cancel(run).must(200, 202)
        return run

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(one, range(40)))
    for run in runs:
        end = client.wait_end(run)
        told = watch(client, run).finish()
        assert told.end["status"] == end["status"] in ("cancelled", "succeeded")
    # If a place had been freed twice or never, these would not run, or would run at the same time.
    after = [client.submit("date +%s.%N; sleep 0.1; date +%s.%N") for _ in range(3)]
    spans = []
    for run in after:
        assert client.wait_end(run)["status"] == "succeeded"
        spans.append(tuple(map(float, client.output(run).split())))
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


@pytest.mark.trap("W1")
@pytest.mark.trap("W3")
def test_runs_do_not_share_folders_and_nobody_clears_anothers(client: Client, starts: Path) -> None:
    script = counted(starts, "ls -A | sort; echo mine-$PODWIRE_RUN_ID > note; sleep 0.5; cat note; echo $TMPDIR >> two; cat two")
    runs = [client.submit(script) for _ in range(6)]
    for run in runs:
        client.wait_end(run)
        assert client.output(run).decode().splitlines()[:2] == ["script.sh", f"mine-{run}"]
    folders = [line.split()[1] for line in starts.read_text().splitlines()]
    temporary = [client.output(run).decode().splitlines()[2] for run in runs]
    assert len(set(folders)) == len(set(temporary)) == 6
    assert all(run in folder for run, folder in zip(started(starts), folders, strict=True))


@pytest.mark.trap("R5")
def test_sigterm_hands_runs_over_within_moments(podwire: Podwire, client: Client, starts: Path) -> None:
    script = counted(starts, "for i in $(seq 80); do echo $i; sleep 0.05; done")
    runs = [client.submit(script) for _ in range(6)]
    watchers = [watch(client, run) for run in runs]
    for watcher in watchers:
        watcher.wait_for("5\n")
    leaving = podwire.workers[0]
    assert leaving.stop() == 0
    for watcher in watchers:
        transcript = watcher.finish(b"".join(b"%d\n" % number for number in range(1, 81)))
        # The lease was given back and the log handed over whole, so nobody had to fall back.
        assert transcript.resets == 0
    leaving.start()
    wait_until(lambda: leaving.running, "the worker ran again")
    assert sorted(started(starts)) == sorted(runs)


@pytest.mark.trap("C13")
def test_places_held_by_killed_workers_come_back(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=1, max_active=3)
    client = podwire.client()
    held = [client.submit("echo on; sleep 2; echo off") for _ in range(3)]
    for run in held:
        client.wait_status(run, "running")
    waiting = client.submit("echo next")
    podwire.workers[0].kill()
    podwire.workers[0].start()
    assert client.wait_end(waiting)["status"] == "succeeded"
    for run in held:
        client.wait_end(run)
        assert client.output(run) == b"on\noff\n"
