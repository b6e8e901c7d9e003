"""Refusals as a client sees them; and that no input is ever an error of ours."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from app.domain.errors import StoreUnavailable
from tests.unit.web.doubles import Site

ABSENT = "r" + "a" * 19


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
    monkeypatch.setattr(type(site.services.store.clock), "now", lost)
    answer = site.client().get("/v1/runs")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "store_unavailable") and answer.headers["Retry-After"]
    assert site.client().get("/readyz").status_code == 503
    assert site.client().get("/livez").status_code == 200
    monkeypatch.setattr(type(site.services.store.users), "person_of_token", broken)
    answer = site.client().get("/v1/runs")
    assert answer.status_code == 500 and "swordfish" not in answer.text and answer.get_json()["incident"]
