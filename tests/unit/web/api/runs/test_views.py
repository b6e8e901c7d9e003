"""Runs as a client sees them: wire forms, status codes, ownership."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.queue.admission import Limits
from tests.unit.web.doubles import Site


def test_a_submitted_run_is_shown_in_the_documented_form(site: Site) -> None:
    answer = site.client().post(
        "/v1/runs",
        json={"script": "print(1)", "language": "python", "memory": "64Mi", "cpu": "500m", "timeout": "1h30m"},
    )
    run = answer.get_json()
    assert answer.status_code == 201 and answer.headers["Location"] == f"/v1/runs/{run['id']}"
    shown = site.client().get(answer.headers["Location"]).get_json()
    assert shown["spec"]["memory"] == 64 * 1024**2 and shown["spec"]["cpu"] == 0.5 and shown["spec"]["timeout"] == 5400
    assert (shown["status"], shown["priority"], shown["owner"], shown["title"]) == ("queued", "normal", "ann", "print(1)")
    assert shown["created_at"].endswith("Z") and shown["outcome"] is None
    assert shown["wait"]["position"] == 1 and shown["wait"]["message"]


def test_the_same_idempotency_key_makes_one_run(site: Site) -> None:
    client, headers = site.client(), {"Idempotency-Key": "k-1"}
    first = client.post("/v1/runs", json={"script": "x", "language": "bash", "memory": "1Gi"}, headers=headers)
    again = client.post("/v1/runs", json={"language": "bash", "memory": 1024**3, "script": "x"}, headers=headers)
    other = client.post("/v1/runs", json={"script": "y", "language": "bash"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json()["id"] == again.get_json()["id"]
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_mismatch")
    assert client.post("/v1/runs", json={}, headers={"Idempotency-Key": "k" * 300}).status_code == 422


def test_a_run_is_accepted_while_redis_is_down(tmp_path: Any) -> None:
    site = Site(tmp_path, Limits(10, 10, 10, 10))
    site.publisher.down = True
    answer = site.client().post("/v1/runs", json={"script": "x", "language": "bash"})
    assert (answer.status_code, answer.get_json()["dispatch"]) == (202, "delayed")


@pytest.mark.trap("C10")
def test_a_limit_says_which_and_when_to_retry(tmp_path: Any) -> None:
    site = Site(tmp_path, Limits(owner_pending=1, owner_active=0, queue_length=2, active=0))
    site.submit()
    full = site.client().post("/v1/runs", json={"script": "x", "language": "bash"})
    problem = full.get_json()
    assert (full.status_code, problem["code"], problem["limit"], problem["current"]) == (429, "limit_reached", 1, 1)
    assert int(full.headers["Retry-After"]) > 0
    site.submit("bob")
    queue_full = site.client("root").post("/v1/runs", json={"script": "x", "language": "bash"})
    assert (queue_full.status_code, queue_full.get_json()["code"]) == (503, "queue_full")


def test_lists_are_filtered_and_continue_where_they_stopped(site: Site) -> None:
    ids = [site.submit(labels={"n": str(number % 2)}, priority="low" if number == 4 else "normal")["id"] for number in range(5)]
    site.submit("bob")
    client = site.client()
    seen: list[str] = []
    address: str | None = "/v1/runs?limit=2&status=queued&status=failed"
    while address:
        page = client.get(address).get_json()
        seen += [run["id"] for run in page["items"]]
        address = page["next"]
    assert seen == ids[::-1]
    assert [run["id"] for run in client.get("/v1/runs?label=n:1").get_json()["items"]] == [ids[3], ids[1]]
    assert [run["id"] for run in client.get("/v1/runs?priority=low").get_json()["items"]] == [ids[4]]
    assert len(site.client("root").get("/v1/runs").get_json()["items"]) == 6
    assert "spec" not in client.get("/v1/runs").get_json()["items"][0]
    wrongs = "status=done limit=0 limit=x label=plain cursor=%00 cursor=AAAA colour=red priority=5 label=a:%00"
    for wrong in wrongs.split():
        assert client.get(f"/v1/runs?{wrong}").status_code in (400, 422), wrong


def test_other_peoples_runs_do_not_exist(site: Site) -> None:
    run = site.submit()["id"]
    for name, status in (("bob", 404), ("root", 200), (None, 401)):
        client = site.client(name)
        for path in ("", "/output", "/questions", "/events"):
            if not (status == 200 and path == "/events"):
                answer = client.get(f"/v1/runs/{run}{path}")
                assert answer.status_code == status and (status == 200 or answer.mimetype == "application/problem+json")
    assert site.client("bob").post(f"/v1/runs/{run}/cancel").status_code == 404
    assert site.client("bob").patch(f"/v1/runs/{run}", json={"priority": "high"}).status_code == 404
    assert site.client("bob").post(f"/v1/runs/{run}/input", json={"data": "x"}).status_code == 404
    assert site.client(None).get("/v1/me").headers["WWW-Authenticate"].startswith("Bearer")


def test_queue_priority_and_cancel(site: Site) -> None:
    first, second = site.submit()["id"], site.submit()["id"]
    client = site.client()
    assert client.patch(f"/v1/runs/{second}", json={"priority": "high"}).get_json()["priority"] == "high"
    queue = client.get("/v1/queue").get_json()["items"]
    assert [(item["position"], item["run"]["id"]) for item in queue] == [(1, second), (2, first)]
    ended = client.post(f"/v1/runs/{first}/cancel")
    assert ended.status_code == 202 and ended.get_json()["outcome"]["reason"] == "CancelledByUser"
    assert client.post(f"/v1/runs/{first}/cancel").get_json()["status"] == "cancelled"
    assert client.patch(f"/v1/runs/{first}", json={"priority": "high"}).status_code == 409
    assert client.post(f"/v1/runs/{first}/input", json={"data": "x"}).get_json()["code"] == "run_ended"
    assert client.post(f"/v1/runs/{second}/input", json={"data": "x"}).status_code == 409
