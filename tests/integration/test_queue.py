"""The queue over replicas: limits, order, positions and priorities are exact, and what was accepted runs, whatever is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.domain.person import Role
from tests.exposition import parse
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import open_socket, read_frame, watch
from tests.servers import wait_until

PENDING_LIMIT, QUEUE_LIMIT = 20, 40


@contextmanager
def place_taken(podwire: Podwire) -> Iterator[None]:
    """Hold the only place, with a run of somebody else."""
    holder = podwire.client()
    run = holder.submit("echo here; sleep 120", grace=0, priority="critical")
    watch(holder, run).wait_for("here")
    try:
        yield
    finally:
        holder.cancel(run)
        holder.wait_end(run)


def noting(path: Path, name: object) -> str:
    """Return a script that notes that it ran."""
    return f"echo {name} >> {path}"


def gauges(podwire: Podwire) -> list[dict[str, float]]:
    """Return the counts of runs that each replica exports."""
    texts = [podwire.client().at(number).get("/metrics").must(200).body.decode() for number in range(len(podwire.web))]
    scrapes = [parse(text) for text in texts]
    return [
        {
            "queued": sum(scrape.by("podwire_queue_depth", "priority").values()),
            "active": scrape.value("podwire_runs", state="active"),
            "waiting": scrape.value("podwire_runs", state="waiting"),
        }
        for scrape in scrapes
    ]


@pytest.mark.trap("C2")
@pytest.mark.trap("C3")
@pytest.mark.trap("C4")
@pytest.mark.trap("C10")
@pytest.mark.trap("M1")
@pytest.mark.trap("M2")
def test_a_limit_holds_over_replicas_and_frees_one_place_for_one_end(small: Podwire) -> None:
    client, other = small.client(), small.client()
    with place_taken(small):
        body = {"script": "true", "language": "bash"}
        with ThreadPoolExecutor(25) as pool:
            answers = list(pool.map(lambda _: client.post("/v1/runs", body), range(50)))
        accepted = [str(answer.json["id"]) for answer in answers if answer.status in (201, 202)]
        assert len(accepted) == PENDING_LIMIT
        for answer in answers:
            if answer.status not in (201, 202):
                problem = answer.refused(429, "limit_reached")
                assert (problem["limit"], problem["current"]) == (PENDING_LIMIT, PENDING_LIMIT)
                assert int(answer.headers["retry-after"]) == problem["retry_after_s"] > 0  # type: ignore[operator]
        assert gauges(small) == [{"queued": PENDING_LIMIT, "active": 1, "waiting": 0}] * 3
        others = other.submit("true")

        for _ in range(3):
            # Cancelled three times over, it still frees one place.
            assert client.cancel(accepted[0]).must(200, 202).json["status"] == "cancelled"
        client.submit("true")
        client.post("/v1/runs", body).refused(429, "limit_reached")
    for run in accepted[1:]:
        assert client.wait_end(run, 60)["status"] == "succeeded"
    other.wait_end(others)
    client.wait_end(client.submit("true"))
    wait_until(lambda: gauges(small) == [{"queued": 0, "active": 0, "waiting": 0}] * 3, "all counts were back at nothing")


@pytest.mark.trap("C3")
@pytest.mark.trap("C10")
@pytest.mark.parametrize("scope", ["owner", "group", "all"])
def test_a_limit_set_at_run_time_holds_over_replicas_at_once(small: Podwire, scope: str) -> None:
    root, client = small.client(role=Role.ADMIN), small.client()
    name = client.get("/v1/me").json["name"]
    group = f"g{name}"[:40]
    field = "queue_length" if scope == "all" else "pending"
    target = {"owner": f"owner:{name}", "group": f"group:{group}", "all": "all"}[scope]
    code, status = ("queue_full", 503) if scope == "all" else ("limit_reached", 429)

    def limit(number: int) -> None:
        more = {"group": group} if scope == "owner" else {}
        root.send("PUT", "/v1/admin/limits", {"scope": target, field: number, **more}).must(200)

    with place_taken(small):
        root.send("PUT", "/v1/admin/limits", {"scope": f"owner:{name}", "group": group}).must(200)
        body = {"script": "true", "language": "bash"}
        for number, before in ((7, 0), (12, 7)):
            limit(number)
            with ThreadPoolExecutor(25) as pool:
                answers = list(pool.map(lambda _: client.post("/v1/runs", body), range(50)))
            assert sum(answer.status in (201, 202) for answer in answers) == number - before
            for answer in answers:
                if answer.status not in (201, 202):
                    problem = answer.refused(status, code)
                    assert (problem["limit"], problem["current"]) == (number, number)
        for item in client.get("/v1/runs").must(200).json["items"]:  # type: ignore[attr-defined]
            client.cancel(item["id"]).must(200, 202)
        root.send("DELETE", f"/v1/admin/limits?scope={target}", None).must(200)


@pytest.mark.trap("C10")
def test_a_full_queue_says_so(small: Podwire) -> None:
    clients = [small.client() for _ in range(3)]
    with place_taken(small):
        runs = [(client, client.submit("true")) for client in clients[:2] for _ in range(PENDING_LIMIT)]
        answer = clients[2].post("/v1/runs", {"script": "true", "language": "bash"})
        problem = answer.refused(503, "queue_full")
        assert (problem["limit"], problem["current"]) == (QUEUE_LIMIT, QUEUE_LIMIT)
        assert int(answer.headers["retry-after"]) > 0
        assert clients[2].get("/v1/runs").json["items"] == []
        for client, run in runs:
            client.cancel(run).must(200, 202)
    assert clients[2].wait_end(clients[2].submit("true"))["status"] == "succeeded"


@pytest.mark.trap("C1")
@pytest.mark.trap("C5")
@pytest.mark.trap("C6")
@pytest.mark.trap("C18")
def test_positions_are_the_order_of_execution_even_after_everything_restarted(small: Podwire, tmp_path: Path) -> None:
    people = [small.client(), small.client()]
    ran = tmp_path / "ran"
    given = ["low", "normal", "background", "critical", "high", "normal", "low", "critical", "background", "high"]
    owners: dict[str, Client] = {}
    with place_taken(small):
        for number, priority in enumerate(given):
            owner = people[number % 3 // 2]
            owners[owner.submit(noting(ran, number), priority=priority)] = owner
        moved = people[0].submit(noting(ran, "moved"), priority="background")
        owners[moved] = people[0]
        changed = people[0].send("PATCH", f"/v1/runs/{moved}", {"priority": "critical"}).must(200).json
        assert changed["priority"] == "critical"
        small.restart()
        pages = [client.get("/v1/queue").must(200).json["items"] for client in people]
        positions = {item["run"]["id"]: item["position"] for page in pages for item in page}  # type: ignore[attr-defined]
        for run, owner in owners.items():
            assert owner.run(run)["wait"]["position"] == positions[run]  # type: ignore[index]
        assert sorted(positions.values()) == list(range(1, len(given) + 2))
    for run, owner in owners.items():
        assert owner.wait_end(run, 60)["status"] == "succeeded"
    names = dict(zip(owners, [*map(str, range(len(given))), "moved"], strict=True))
    announced = [names[run] for run in sorted(positions, key=lambda run: positions[run])]
    assert ran.read_text().split() == announced
    assert announced == ["3", "7", "moved", "4", "9", "1", "5", "0", "6", "2", "8"]


@pytest.mark.trap("C6")
def test_equal_priorities_run_in_the_order_of_submission(small: Podwire, tmp_path: Path) -> None:
    client = small.client()
    with place_taken(small):
        runs = [client.submit(noting(tmp_path / "ran", number)) for number in range(PENDING_LIMIT)]
    for run in runs:
        client.wait_end(run, 60)
    assert (tmp_path / "ran").read_text().split() == [str(number) for number in range(PENDING_LIMIT)]


@pytest.mark.trap("C5")
def test_a_watcher_of_a_queued_run_is_told_its_place_and_why(small: Podwire) -> None:
    client = small.client()
    with place_taken(small):
        first, second = client.submit("true"), client.submit("echo done")
        connection = open_socket(client, second)
        frames = [str(read_frame(connection)[0]) for _ in range(2)]
        connection.shutdown()
        assert '"type":"hello"' in frames[0] and '"type":"queue"' in frames[1]
        watcher = watch(client, second)
        wait_until(lambda: watcher.transcript.waits, "the place was told")
        told = watcher.transcript.waits[0]
        assert told["position"] == 2 and told["message"].startswith("2nd in the queue:")
        client.cancel(first)
        wait_until(lambda: watcher.transcript.waits[-1]["position"] == 1, "the new place was told")
    watcher.finish(b"done\n")


@pytest.mark.trap("C8")
def test_a_run_submitted_while_redis_is_down_is_accepted_and_runs_later(small: Podwire) -> None:
    client = small.client()
    small.redis.kill()
    try:
        answer = client.post("/v1/runs", {"script": "echo late", "language": "bash"}).must(202)
        assert answer.json["dispatch"] == "delayed"
        run = str(answer.json["id"])
        assert client.status(run) in ("queued", "starting")
        assert client.get("/readyz").status == 200
    finally:
        small.redis.start()
    watch(client, run).finish(b"late\n")


@pytest.mark.trap("C11")
def test_a_run_that_waited_too_long_expires_and_its_watcher_is_told(small: Podwire) -> None:
    client = small.client()
    with place_taken(small):
        runs = [client.submit("echo never", queue_timeout=1) for _ in range(PENDING_LIMIT)]
        watchers = [watch(client, run, "sse" if number % 2 else "ws") for number, run in enumerate(runs)]
        for watcher in watchers:
            end = watcher.finish(b"").end
            assert (end["status"], end["reason"], end["seq"]) == ("expired", "QueueTimeout", 1)
        # All of them gave their places back.
        again = client.submit("true")
    assert client.wait_end(again)["status"] == "succeeded"


@pytest.mark.trap("C12")
@pytest.mark.trap("C16")
@pytest.mark.trap("L3")
def test_what_the_broker_forgot_is_handed_out_again(small: Podwire) -> None:
    client = small.client()
    (worker,) = small.workers
    worker.stop()
    runs = [client.submit(f"echo {number}") for number in range(3)]
    client.wait_status(runs[0], "starting")
    with small.redis.client() as redis:
        wait_until(lambda: redis.dbsize() > 0, "the message was in the broker")
        redis.flushall()
    worker.start()
    for number, run in enumerate(runs):
        watch(client, run).finish(b"%d\n" % number)


@pytest.mark.trap("C18")
@pytest.mark.trap("C19")
def test_a_priority_is_one_of_five_words(client: Client) -> None:
    for wrong in ("urgent", "HIGH", "High", 5, 0, True, None, "", ["high"]):
        answer = client.post("/v1/runs", {"script": "true", "language": "bash", "priority": wrong})
        (fault,) = answer.refused(422, "invalid_input")["errors"]  # type: ignore[misc]
        assert fault["field"] == "priority" and "critical, high, normal, low, background" in fault["message"]
    for priority in ("critical", "high", "normal", "low", "background"):
        run = client.submit("true", priority=priority)
        assert client.run(run)["priority"] == priority
    assert client.run(client.submit("true"))["priority"] == "normal"


@pytest.mark.trap("C20")
@pytest.mark.trap("C19")
def test_what_is_in_the_broker_already_is_taken_by_priority(other_podwire: Callable[..., Podwire], tmp_path: Path) -> None:
    podwire = other_podwire(web=1, workers=1, worker_concurrency=1)
    client = podwire.client()
    ran = tmp_path / "ran"
    block = client.submit(f"echo on; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    watch(client, block).wait_for("on")
    runs = [client.submit(noting(ran, f"low{number}"), priority="low") for number in range(5)]
    runs.append(client.submit(noting(ran, "background"), priority="background"))
    runs.append(client.submit(noting(ran, "critical"), priority="critical"))
    with podwire.redis.client() as redis:
        lengths = [redis.llen(f"podwire:{number}") for number in (1, 7, 9)]
    assert lengths == [1, 5, 1], "critical, low, background"
    (tmp_path / "go").touch()
    for run in runs:
        client.wait_end(run)
    assert ran.read_text().split() == ["critical", *(f"low{number}" for number in range(5)), "background"]


def test_a_paused_queue_starts_nothing_on_any_replica_and_goes_on_when_it_may(podwire: Podwire) -> None:
    admin, client = podwire.client(role=Role.ADMIN), podwire.client()
    admin.at(0).send("PATCH", "/v1/admin/queue", {"paused": True}).must(200)
    try:
        runs = [client.submit("echo done") for _ in range(6)]
        last = runs[-1]
        admin.at(2).send("PATCH", f"/v1/runs/{last}", {"front": True}).must(200)
        places = {run: dict(client.run(run)["wait"])["position"] for run in runs}  # type: ignore[call-overload]
        assert places == {last: 1, **{run: place for place, run in enumerate(runs[:-1], 2)}}
        watcher = watch(client, runs[0])
        wait_until(lambda: any("an admin has paused" in told["message"] for told in watcher.transcript.waits), "it was told why")
        time.sleep(1.5)  # three ticks of each worker: nothing may start
        assert {client.status(run) for run in runs} == {"queued"}
        admin.at(1).send("PATCH", "/v1/admin/queue", {"closed": True}).must(200)
        client.at(0).post("/v1/runs", {"script": "x", "language": "bash"}).refused(503, "queue_closed")
    finally:
        admin.at(1).send("PATCH", "/v1/admin/queue", {"paused": False, "closed": False}).must(200)
    assert {client.wait_end(run)["status"] for run in runs} == {"succeeded"}
    entries = admin.get("/v1/audit?limit=5").must(200).json["items"]
    assert [entry["after"] for entry in entries][:5] == ["open", "running", "closed", "front", "paused"]  # type: ignore[index]
