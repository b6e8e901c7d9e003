"""The API as a client sees it: wire forms, status codes, ownership; and that no input is ever an error of ours."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.queue.admission import Limits
from app.domain.runs.events import Entry, Kind, encode, output_fields
from app.domain.runs.question import parse_asked
from app.domain.runs.run import Progress
from app.domain.runs.spec import SpecLimits
from app.store.log.chunks import Chunk
from app.web.api.runs.requests import run_request
from tests.unit.web.doubles import Site

ABSENT = "r" + "a" * 19


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


def test_every_fault_of_a_request_is_named_at_once(site: Site) -> None:
    body = {
        "language": "cobol",
        "script": "x",
        "priority": "URGENT",
        "cpu": 1000,
        "memory": "much",
        "env": {"PATH": 5},
        "args": ["a", 1],
        "nonsense": 1,
        "timeout": True,
    }
    answer = site.client().post("/v1/runs", json=body)
    assert answer.status_code == 422 and answer.mimetype == "application/problem+json"
    fields = {fault["field"] for fault in answer.get_json()["errors"]}
    assert fields == {"priority", "memory", "env.PATH", "args[1]", "nonsense", "timeout", "language", "cpu"}


def test_secrets_are_named_and_never_shown(site: Site) -> None:
    env = {"KEY": {"value": "s3cret", "secret": True}, "A": "1", "B": {"value": "2"}}
    run = site.submit(env=env)
    shown = [site.client().get(path).text for path in (f"/v1/runs/{run['id']}", "/v1/runs", "/v1/queue")]
    assert run["spec"]["env"] == {"A": "1", "B": "2"} and run["spec"]["secrets"] == ["KEY"]
    assert not any("s3cret" in text for text in shown)
    assert site.services.store.secrets.secrets(run["id"]) == {"KEY": "s3cret"}


@pytest.mark.parametrize("wrong", [5, None, {"secret": True}, {"value": 5}, {"value": "x", "secret": 1}, {"value": "x", "y": 1}])
def test_what_is_no_value_of_a_variable_is_refused(site: Site, wrong: object) -> None:
    answer = site.client().post("/v1/runs", json={"script": "x", "language": "bash", "env": {"KEY": wrong}})
    assert answer.status_code == 422
    assert all(fault["field"].startswith("env.KEY") for fault in answer.get_json()["errors"])


def test_the_hash_of_a_request_lets_nobody_try_out_secrets() -> None:
    def hashed(value: str, key: str, secret: bool = True) -> str:
        env = {"KEY": {"value": value, "secret": secret}}
        return run_request({"script": "x", "language": "bash", "env": env}, SpecLimits({"bash": ("bash",)})).fingerprint(key)

    assert hashed("a", "k") == hashed("a", "k") != hashed("b", "k")
    assert hashed("a", "k") != hashed("a", "other")
    assert hashed("a", "k", secret=False) == hashed("a", "other", secret=False)


CLUSTER = {"launcher": "kubernetes", "kube_namespace": "runs", "kube_agent_image": "podwire"}


def test_what_a_run_may_ask_for_is_shown_and_another_image_is_refused(tmp_path: Any) -> None:
    images = {"kube_images": '{"python": "python:3.12"}', "kube_allowed_images": '["mine/*"]'}
    client = Site(tmp_path, **CLUSTER, **images).client()
    limits = client.get("/v1/limits").get_json()
    assert limits["images"] == {"allowed": ["python:3.12", "mine/*"], "by_language": {"python": "python:3.12"}, "default": None}
    assert (limits["languages"], limits["cpu"]) == (["python", "bash", "node"], 4.0)
    assert client.post("/v1/runs", json={"command": ["true"], "image": "mine/tool"}).status_code == 201
    for wrong in ({"command": ["true"], "image": "other"}, {"command": ["true"]}, {"script": "1", "language": "bash"}):
        answer = client.post("/v1/runs", json=wrong)
        assert answer.status_code == 422, wrong
        assert [fault["field"] for fault in answer.get_json()["errors"]] == ["image"], wrong


def test_where_runs_have_no_image_none_matters(site: Site) -> None:
    assert site.client().get("/v1/limits").get_json()["images"] is None
    assert site.submit(image="anything")["image"] == "anything"
    assert site.client(None).get("/v1/limits").status_code == 401


@pytest.mark.trap("C18")
@pytest.mark.parametrize("priority", ["Critical", "HIGH", "", 5, 0, None, True, ["high"], {"a": 1}])
def test_only_the_five_priorities_exist(site: Site, priority: object) -> None:
    answer = site.client().post("/v1/runs", json={"script": "x", "language": "bash", "priority": priority})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "priority"


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


def _write(site: Site, run_id: str, data: bytes) -> None:
    run = site.services.store.leases.claim(run_id, "process", 20)
    if run is None:
        raise AssertionError("not claimed")
    half = len(data) // 2
    parts = [(1, 0, data[:half]), (2, half, data[half:])]
    entries = [Entry(seq, encode(1, seq, 1.0, Kind.OUTPUT, output_fields("stdout", at, part))) for seq, at, part in parts]
    chunk = Chunk.pack(entries, 1, 0, len(data), 0)
    site.services.store.log.archive(run_id, run.token, chunk, Progress(1, 2, len(data), 0))


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        (None, 200, slice(None)),
        ("bytes=0-", 206, slice(None)),
        ("bytes=3-6", 206, slice(3, 7)),
        ("bytes=-4", 206, slice(-4, None)),
        ("bytes=-400", 206, slice(None)),
        ("bytes=5-900", 206, slice(5, None)),
        ("bytes=10-", 416, None),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
        ("bytes=x", 200, slice(None)),
    ],
)
def test_output_is_served_in_ranges(tmp_path: Any, asked: str | None, status: int, expected: slice | None) -> None:
    site = Site(tmp_path, Limits(10, 10, 10, 10))
    run, data = site.submit()["id"], b"0123\r\n\xff\x00ab"
    assert site.client().get(f"/v1/runs/{run}/output").data == b""
    _write(site, run, data)
    answer = site.client().get(f"/v1/runs/{run}/output", headers={"Range": asked} if asked else {})
    assert answer.status_code == status
    if expected is None:
        assert answer.headers["Content-Range"] == "bytes */10"
        return
    assert answer.data == data[expected] and int(answer.headers["Content-Length"]) == len(answer.data)
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in answer.headers["Content-Security-Policy"]
    if status == 206:
        start, stop, _ = expected.indices(len(data))
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10"
    saved = site.client().get(f"/v1/runs/{run}/output?download=1")
    assert saved.mimetype == "application/octet-stream" and saved.headers["Content-Disposition"].startswith("attachment")
    head = site.client().head(f"/v1/runs/{run}/output")
    assert (head.headers["Content-Length"], head.data) == ("10", b"")


def test_a_question_is_answered_once_and_a_secret_is_never_shown(tmp_path: Any) -> None:
    site = Site(tmp_path, Limits(10, 10, 10, 10))
    run_id = site.submit()["id"]
    run = site.services.store.leases.claim(run_id, "process", 20)
    assert run is not None
    for number, kind in ((1, "number"), (2, "secret")):
        asked = parse_asked({"number": number, "text": "?", "kind": kind})
        site.services.store.questions.ask(run_id, run.token, 1, asked, 10)
    client, address = site.client(), f"/v1/questions/{run_id}-1-1/answer"
    assert len(client.get("/v1/questions").get_json()["items"]) == 2
    assert site.client("bob").get("/v1/questions").get_json()["items"] == []
    assert site.client("bob").post(address, json={"value": 1}).status_code == 404
    for wrong in ("x", True, None, 10**400, 1e999, [[[[]]]], {"a": "\ud800"}, "\0"):
        assert client.post(address, json={"value": wrong}).status_code in (400, 422), wrong
    assert client.post(address, json={"value": 7}).get_json()["state"] == "answered"
    assert client.post(address, json={"value": 7}).status_code == 200
    late = client.post(address, json={"value": 8})
    assert (late.status_code, late.get_json()["accepted"]) == (409, 7)
    secret = client.post(f"/v1/questions/{run_id}-1-2/answer", json={"value": "hush-hush"})
    assert secret.status_code == 200 and "hush" not in secret.text + client.get(f"/v1/runs/{run_id}/questions").text


def _bodies(random_: random.Random) -> list[bytes]:
    deep = b'{"script":' + b"[" * 5000 + b"]" * 5000 + b"}"
    base = {"script": "x", "language": "bash"}
    odd: list[object] = [None, True, -1, 0, 2**70, 1.5, "", "\0", "\ud800", "9" * 50, "1e9Gi", "5 s"]
    odd += [[], {}, [None], {"": None}, {"\0": "\0"}]
    names = ("cpu", "memory", "timeout", "env", "files", "labels", "command", "script", "image")
    bodies = [json.dumps({**base, name: value}).encode() for name in names for value in odd]
    broken = bytearray(json.dumps(base).encode())
    for _ in range(50):
        piece = bytearray(broken)
        piece[random_.randrange(len(piece))] = random_.randrange(256)
        bodies.append(bytes(piece))
    return [b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a":NaN}', b"1" * 9000, deep, *bodies]


def test_no_body_is_an_error_of_ours(site: Site) -> None:
    seed = random.randrange(2**32)
    run, client = site.submit(stdin=True)["id"], site.client()
    for body in _bodies(random.Random(seed)):
        for method, path in (
            ("post", "/v1/runs"),
            ("patch", f"/v1/runs/{run}"),
            ("post", f"/v1/runs/{run}/input"),
            ("post", f"/v1/questions/{run}-1-1/answer"),
        ):
            answer = client.open(path, method=method.upper(), data=body, content_type="application/json")
            assert answer.status_code in (200, 201, 202, 400, 404, 409, 422, 429), (seed, path, body[:80], answer.text)
            assert answer.status_code < 300 or answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "/v1/runs/x",
        f"/v1/runs/{ABSENT}",
        f"/v1/runs/{ABSENT}%00",
        f"/v1/runs/{ABSENT.upper()}",
        "/v1/runs/..%2f..%2fetc",
        "/v1/runs/%ed%a0%80",
        f"/v1/runs/{ABSENT}/output",
        f"/v1/runs/{ABSENT}/events",
        f"/v1/questions/{ABSENT}-1-1/answer/x",
    ],
)
@pytest.mark.trap("W4")
def test_what_does_not_exist_is_404(site: Site, path: str) -> None:
    answer = site.client().get(path)
    assert (answer.status_code, answer.mimetype, answer.get_json()["code"]) == (404, "application/problem+json", "not_found")


def test_wrong_methods_types_and_sizes_are_problems(tmp_path: Any) -> None:
    site = Site(tmp_path, max_request_bytes=1000)
    client = site.client()
    wrong_method = client.delete("/v1/runs")
    assert (wrong_method.status_code, wrong_method.get_json()["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong_method.headers["Allow"]
    assert client.post("/v1/runs", data="x=1", content_type="application/x-www-form-urlencoded").status_code == 415
    assert client.post("/v1/runs", data="{}").status_code == 415
    large = json.dumps({"script": "x" * 2000, "language": "bash"}).encode()
    assert client.post("/v1/runs", data=large, content_type="application/json").status_code == 413
    assert client.get(f"/v1/runs/{ABSENT}/stream").status_code == 426


def test_a_lost_database_is_503_and_a_bug_is_500_without_details(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: object) -> None:
        raise StoreUnavailable()

    def broken(*args: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(type(site.services.store.users), "person_of_token", lost)
    monkeypatch.setattr(type(site.services.store.leases), "now", lost)
    answer = site.client().get("/v1/runs")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "store_unavailable") and answer.headers["Retry-After"]
    assert site.client().get("/readyz").status_code == 503
    assert site.client().get("/livez").status_code == 200
    monkeypatch.setattr(type(site.services.store.users), "person_of_token", broken)
    answer = site.client().get("/v1/runs")
    assert answer.status_code == 500 and "swordfish" not in answer.text and answer.get_json()["incident"]


def test_readiness_and_numbers(site: Site) -> None:
    client = site.client(None)
    site.submit()
    site.hub.degraded = True
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["live"]) == (200, "degraded")
    text = client.get("/metrics").text
    assert 'podwire_queue_depth{priority="normal"} 1' in text and "podwire_live_degraded 1" in text
    site.app.extensions["podwire"].drain.begin()
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    refused = site.client().get(f"/v1/runs/{site.submit()['id']}/events")
    assert (refused.status_code, refused.get_json()["code"]) == (503, "draining") and refused.headers["Retry-After"]


def test_admins_change_limits_and_nobody_else_does(site: Site) -> None:
    ann, root = site.client(), site.client("root")
    for answer in (
        ann.get("/v1/admin/limits"),
        ann.put("/v1/admin/limits", json={"scope": "all", "active": 1}),
        ann.delete("/v1/admin/limits?scope=all"),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")
    site.submit()
    assert root.put("/v1/admin/limits", json={"scope": "owner:ann", "pending": 1, "weight": 3, "group": "red"}).status_code == 200
    set_ = {item["scope"]: item for item in root.get("/v1/admin/limits").get_json()["items"]}
    assert set_["owner:ann"] == {
        "scope": "owner:ann",
        "pending": 1,
        "active": None,
        "queue_length": None,
        "weight": 3,
        "group": "red",
        "counts": {"queued": 1, "active": 0, "waiting": 0},
    }
    assert set_["group:red"]["counts"]["queued"] == 1
    refused = ann.post("/v1/runs", json={"script": "x", "language": "bash"})
    assert (refused.status_code, refused.get_json()["scope"], refused.get_json()["limit"]) == (429, "owner", 1)
    assert root.delete("/v1/admin/limits?scope=owner:ann").status_code == 200
    root.put("/v1/admin/limits", json={"scope": "group:red", "pending": 0})
    site.submit()
    root.put("/v1/admin/limits", json={"scope": "owner:ann", "group": "red"})
    refused = ann.post("/v1/runs", json={"script": "x", "language": "bash"})
    assert (refused.status_code, refused.get_json()["scope"], refused.get_json()["current"]) == (429, "group:red", 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": "nobody"}, "scope"),
        ({"scope": "group:a b"}, "scope"),
        ({"scope": "all", "pending": 1}, "pending"),
        ({"scope": "label:a=b"}, "active"),
        ({"scope": "owner:ann", "weight": 0}, "weight"),
        ({"scope": "owner:ann", "group": "a/b"}, "group"),
        ({"scope": "group:red", "active": -1}, "active"),
        ({"scope": "all", "other": 1}, "other"),
        ({"active": 1}, "scope"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(site: Site, body: dict[str, Any], field: str) -> None:
    answer = site.client("root").put("/v1/admin/limits", json=body)
    assert answer.status_code == 422, answer.get_json()
    assert [fault["field"] for fault in answer.get_json()["errors"]] == [field]


def test_the_limits_of_nobody_are_not_found(site: Site) -> None:
    assert site.client("root").put("/v1/admin/limits", json={"scope": "owner:nobody", "active": 1}).status_code == 404
    assert site.client("root").delete("/v1/admin/limits?scope=owner:nobody").status_code == 404
