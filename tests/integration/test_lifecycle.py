"""How processes start and leave: half-way failures, signals at the wrong moment, optimised bytecode."""

from __future__ import annotations

import ast
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.integration.cluster import ROOT, Podwire, Process
from tests.integration.watcher import watch
from tests.servers import wait_until


@pytest.mark.trap("L1")
def test_servers_without_asserts_still_check_everything(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=2, workers=1, environment={"PYTHONOPTIMIZE": "1"})
    client = podwire.client()
    run = client.submit("echo $(ask --choice red --choice green 'Which?')")
    watcher = watch(client, run)
    question = watcher.wait_event("question")[0]["question"]["id"]
    watcher.send({"type": "answer", "id": "c1", "question": question, "value": "blue"})
    client.answer(question, 5).refused(422, "invalid_input")
    client.post("/v1/runs", {"script": 5}).refused(422, "invalid_input")
    podwire.client().answer(question, "red").refused(404, "not_found")
    client.answer(question, "red").must(200)
    client.answer(question, "green").refused(409, "already_answered")
    told = watcher.finish(b"red\n")
    assert told.replies[0]["error"]["code"] == "invalid_input"


@pytest.mark.trap("L1")
def test_no_source_checks_anything_with_assert() -> None:
    found = [
        f"{path}:{node.lineno}"
        for room in ("app", "config", "tasks")
        for path in sorted((ROOT / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


@pytest.mark.trap("L2")
def test_what_cannot_start_ends_at_once_and_says_why(podwire: Podwire) -> None:
    for model in (podwire.web[0], podwire.workers[0]):
        process = model.variant("homeless", {"PODWIRE_STATE_DIR": "/proc/nowhere", "PODWIRE_BIND": "127.0.0.1:0"})
        process.start()
        assert process.wait() != 0
        assert "/proc/nowhere" in process.tail()
        for setting, value in (("PODWIRE_LEASE_S", "soon"), ("PODWIRE_COLOUR", "red"), ("PODWIRE_SECRET_KEY", "short")):
            process = model.variant("wrong", {setting: value})
            process.start()
            assert process.wait() != 0
            assert setting in process.tail()


@pytest.mark.trap("L2")
@pytest.mark.trap("L3")
def test_a_worker_that_starts_before_redis_waits_for_it(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=1, workers=1)
    client = podwire.client()
    (worker,) = podwire.workers
    worker.stop()
    podwire.redis.kill()
    run = str(client.post("/v1/runs", {"script": "echo hi", "language": "bash"}).must(202).json["id"])
    worker.start()
    wait_until(lambda: worker.logged("Cannot connect to"), "it noticed")
    assert worker.running
    podwire.redis.start()
    watch(client, run).finish(b"hi\n")


@pytest.mark.trap("L4")
def test_sigterm_twice_and_during_the_start_ends_every_process(podwire: Podwire) -> None:
    for model in (podwire.web[0], podwire.workers[0]):
        for delay_s in (0.02, 0.5, 1.0):
            process = model.variant("early", {"PODWIRE_BIND": "127.0.0.1:0"})
            process.start()
            time.sleep(delay_s)
            process.send(signal.SIGTERM)
            process.wait(25)
            wait_until(lambda one=process: _group_is_gone(one), "none of its processes was left")  # type: ignore[misc]
        process = model.variant("twice", {"PODWIRE_BIND": "127.0.0.1:0"})
        process.start()
        wait_until(lambda one=process: one.logged("Booting worker") or one.logged(" ready."), "it had started")  # type: ignore[misc]
        time.sleep(1)
        process.send(signal.SIGTERM)
        time.sleep(0.05)
        process.send(signal.SIGTERM)
        process.wait(25)
        wait_until(lambda one=process: _group_is_gone(one), "none of its processes was left")  # type: ignore[misc]


def _group_is_gone(process: Process) -> bool:
    if process.popen is None:
        return True
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[2]) == process.popen.pid and words[0] != "Z":
                return False
    return True


@pytest.mark.trap("L4")
def test_a_worker_told_to_leave_twice_in_the_middle_of_runs_loses_none(podwire: Podwire) -> None:
    client = podwire.client()
    runs = [client.submit("for i in $(seq 40); do echo $i; sleep 0.05; done") for _ in range(4)]
    watchers = [watch(client, run) for run in runs]
    for watcher in watchers:
        watcher.wait_for("3\n")
    for worker in podwire.workers:
        worker.send(signal.SIGTERM)
        time.sleep(0.1)
        worker.send(signal.SIGTERM)
    for worker in podwire.workers:
        worker.wait()
        worker.start()
    for watcher in watchers:
        watcher.finish(b"".join(b"%d\n" % number for number in range(1, 41)))


@pytest.mark.trap("G5")
def test_connections_to_the_database_stay_bounded_under_load(podwire: Podwire) -> None:
    client = podwire.client()
    run = client.submit("sleep 60", grace=0)
    watchers = [watch(client, run) for _ in range(60)]
    with ThreadPoolExecutor(40) as pool:
        statuses = set(pool.map(lambda _: client.get("/v1/runs").status, range(400)))
    with psycopg.connect(podwire.database_url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        (count,) = connection.execute(query).fetchone() or (0,)
    client.cancel(run)
    for watcher in watchers:
        watcher.finish(b"")
    assert statuses == {200}
    assert 0 < count <= 10 * len(podwire.processes)
