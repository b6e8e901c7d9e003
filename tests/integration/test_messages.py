"""The worker's queue: messages that come again, too late, not at all, or that nobody can read. None of them harms a run."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from config.celery import QUEUE, make_celery
from config.settings import Settings
from tests.integration.client import Client
from tests.integration.cluster import ROOT, Podwire
from tests.integration.test_claiming import broker, counted, started
from tests.integration.watcher import watch
from tests.servers import wait_until

KEY = f"{QUEUE}:5"


@contextmanager
def impatient_broker(podwire: Podwire) -> Iterator[Celery]:
    """Connect to the broker as a process that takes every message for overdue that is not acknowledged."""
    celery = make_celery(Settings.from_env(podwire.environment))
    celery.conf.broker_transport_options = {**celery.conf.broker_transport_options, "visibility_timeout": -1}
    try:
        yield celery
    finally:
        celery.close()


def message(podwire: Podwire, run: str) -> dict[str, Any]:
    """Return a message as it lies in the queue, taken from a queue that nobody reads."""
    with broker(podwire) as celery:
        celery.send_task("runs.supervise", args=(run,), priority=5, queue="nobody")
    with podwire.redis.client() as redis:
        found: dict[str, Any] = json.loads(redis.lpop("nobody:5"))
    found["properties"]["delivery_info"]["routing_key"] = QUEUE
    return found


def body(*parts: object) -> str:
    return base64.b64encode(json.dumps(parts).encode()).decode()


def poisons(sound: dict[str, Any], unknown: str) -> list[bytes]:
    """Return what may lie in the queue and is no message of this version: bytes, shapes, names, arguments."""
    properties, headers = sound["properties"], sound["headers"]
    chain: dict[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    broken: list[object] = [
        [],
        None,
        7,
        "text",
        {},
        {"properties": {}},
        {"body": sound["body"]},
        {**sound, "properties": None},
        {**sound, "properties": {**properties, "delivery_tag": None}},
        {**sound, "headers": None},
        {**sound, "headers": {}},
        {**sound, "headers": {**headers, "task": "runs.explode"}},
        {**sound, "headers": {**headers, "task": ["runs.supervise"]}},
        {**sound, "headers": {name: value for name, value in headers.items() if name != "id"}},
        {**sound, "headers": {**headers, "eta": "yesterday"}},
        {**sound, "headers": {**headers, "timelimit": "long"}},
        {**sound, "body": "not base64"},
        {**sound, "body": base64.b64encode(b"not JSON").decode()},
        {**sound, "body": body([], {}, chain)},
        {**sound, "body": body([unknown, 1, 2], {"run_id": 3}, chain)},
        {**sound, "body": body([{"run": 1}], {}, chain)},
        {**sound, "body": body(7)},
        {**sound, "content-type": "application/x-python-serialize", "body": base64.b64encode(b"cos\nsystem\n.").decode()},
    ]
    return [b"garbage", b"\xff\xfe\x00", b"", b"{", *(json.dumps(one).encode() for one in broken)]


@pytest.mark.trap("C19")
@pytest.mark.trap("R2")
def test_what_nobody_can_read_is_thrown_away_and_the_rest_goes_on(other_podwire: Callable[..., Podwire], starts: Path) -> None:
    podwire = other_podwire(web=1, workers=1, worker_concurrency=4)
    client, (worker,) = podwire.client(), podwire.workers
    before = client.submit(counted(starts, "for i in $(seq 100); do echo $i; sleep 0.05; done"))
    watcher = watch(client, before)
    watcher.wait_for("3\n")
    sound = message(podwire, "r" + "z" * 19)
    harmful = poisons(sound, "r" + "y" * 19)
    with podwire.redis.client() as redis:
        for poison in harmful:
            redis.lpush(KEY, poison)
        wait_until(lambda: redis.llen(KEY) == 0, "the queue was read to its end")
    # More runs than slots: none of the slots is held by what was thrown away.
    after = [client.submit(counted(starts, "true")) for _ in range(6)]
    for run in after:
        assert client.wait_end(run)["status"] == "succeeded"
    watcher.finish(b"".join(b"%d\n" % number for number in range(1, 101)))
    assert worker.running and worker.logged("thrown away")
    assert sorted(started(starts)) == sorted([before, *after])
    with podwire.redis.client() as redis:
        wait_until(lambda: redis.hlen("unacked") == 0, "nothing was left unacknowledged")


@pytest.mark.trap("C19")
@pytest.mark.trap("R1")
def test_a_queue_that_another_version_left_behind_is_worked_off(other_podwire: Callable[..., Podwire], starts: Path) -> None:
    podwire = other_podwire(web=1, workers=1, tick_s=2)
    client, (worker,) = podwire.client(), podwire.workers
    worker.stop()
    runs = [client.submit(counted(starts, "true")) for _ in range(5)]
    sound = message(podwire, runs[0])
    chain: dict[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    old = {"task": "runs.supervise", "id": "8c4f5e3a-0000-4000-8000-000000000000", "args": [runs[3]], "kwargs": {}}
    left = [
        {**sound, "body": body([runs[0]], {"owner": "ann", "attempt": 7}, chain)},
        {**sound, "body": body([], {"run_id": runs[1]}, chain)},
        {**sound, "body": body([runs[2], "normal"], {}, chain)},
        # The form of messages before Celery 4: no headers, everything in the body.
        {**sound, "headers": {}, "body": base64.b64encode(json.dumps(old).encode()).decode()},
        {**sound, "body": body([runs[4]], {}, chain), "properties": {**sound["properties"], "priority": "9"}},
    ]
    with podwire.redis.client() as redis:
        redis.delete(*[f"{QUEUE}:{number}" for number in range(1, 10)], QUEUE)
        for number, one in enumerate(left):
            one["properties"] = {**one["properties"], "delivery_tag": f"tag-{number}"}
            redis.lpush(KEY if number % 2 else QUEUE, json.dumps(one))
    worker.start()
    for run in runs:
        assert client.wait_end(run)["status"] == "succeeded"
    assert sorted(started(starts)) == sorted(runs)
    assert not worker.logged("Traceback") and worker.running


@pytest.mark.trap("R2")
@pytest.mark.trap("R4")
def test_a_message_that_comes_again_in_the_middle_of_its_run_changes_nothing(
    podwire: Podwire, client: Client, starts: Path
) -> None:
    runs = [client.submit(counted(starts, "for i in $(seq 60); do echo $i; sleep 0.05; done")) for _ in range(4)]
    watchers = [watch(client, run) for run in runs]
    for watcher in watchers:
        watcher.wait_for("5\n")
    with impatient_broker(podwire) as celery, celery.connection_for_read() as connection:
        with podwire.redis.client() as redis:
            assert redis.hlen("unacked") >= len(runs)
        connection.default_channel.qos.restore_visible(num=100, interval=1)
    for watcher in watchers:
        told = watcher.finish(b"".join(b"%d\n" % number for number in range(1, 61)))
        assert [event["status"] for event in told.of_kind("status")] == ["starting", "running"]
        assert told.end["status"] == "succeeded" and told.end["epoch"] == 1 and told.resets == 0
    assert sorted(started(starts)) == sorted(runs)
    assert not any(worker.logged("Traceback") for worker in podwire.workers)


def test_messages_that_are_lost_are_sent_again(other_podwire: Callable[..., Podwire], starts: Path) -> None:
    podwire = other_podwire(web=1, workers=1)
    client, (worker,) = podwire.client(), podwire.workers
    worker.stop()
    runs = [client.submit(counted(starts, "true"), priority=priority) for priority in ("critical", "normal", "background")]
    with podwire.redis.client() as redis:
        assert redis.delete(*[f"{QUEUE}:{number}" for number in range(1, 10)]) == len(runs)
    worker.start()
    for run in runs:
        assert client.wait_end(run)["status"] == "succeeded"
    assert sorted(started(starts)) == sorted(runs)


@pytest.mark.trap("L4")
def test_a_worker_that_ends_for_a_reason_of_its_own_lets_its_runs_go(other_podwire: Callable[..., Podwire], starts: Path) -> None:
    podwire = other_podwire(web=1, workers=1)
    client, (worker,) = podwire.client(), podwire.workers
    run = client.submit(counted(starts, "for i in $(seq 200); do echo $i; sleep 0.05; done"))
    watcher = watch(client, run)
    watcher.wait_for("5\n")
    with broker(podwire) as celery:
        # Nobody sends a signal: the consumer ends by itself, as it does after an error that it does not know.
        celery.control.shutdown()
    worker.wait()
    worker.start()
    transcript = watcher.finish(b"".join(b"%d\n" % number for number in range(1, 201)))
    assert transcript.resets == 0 and started(starts) == [run]


def test_the_sign_of_life_is_there_while_the_queue_is_read_or_redis_is_away(
    other_podwire: Callable[..., Podwire], tmp_path: Path
) -> None:
    sign = tmp_path / "alive"
    podwire = other_podwire(web=1, workers=1, alive_file=str(sign))
    (worker,) = podwire.workers

    def check() -> int:
        command = [sys.executable, "-m", "app.cli.main", "worker", "--check"]
        return subprocess.run(command, env=podwire.environment, cwd=ROOT, capture_output=True, check=False).returncode

    def grow_old() -> None:
        os.utime(sign, (1, 1))

    assert check() == 0
    podwire.redis.kill()
    wait_until(lambda: worker.logged("Cannot connect to"), "it noticed that Redis is away")
    grow_old()
    wait_until(lambda: sign.stat().st_mtime > 1, "it shows that it lives while it waits for Redis")
    podwire.redis.start()
    wait_until(lambda: worker.logged("Connected to"), "it is connected")
    grow_old()
    wait_until(lambda: check() == 0, "the loop goes on")
    worker.send_group(signal.SIGSTOP)
    grow_old()
    assert check() == 1
    worker.send_group(signal.SIGCONT)
    wait_until(lambda: check() == 0, "it was only asleep")
    worker.kill()
    sign.unlink()
    assert check() == 1
