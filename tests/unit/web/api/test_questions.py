"""Questions over HTTP: one answer, and secrets that are never shown."""

from __future__ import annotations

from typing import Any

from app.domain.queue.admission import Limits
from app.domain.runs.question import parse_asked
from tests.unit.web.doubles import Site


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
