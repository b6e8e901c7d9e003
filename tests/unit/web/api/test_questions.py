"""Questions over HTTP: one answer, and secrets that are never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from app.domain.queue.admission import Limits
from app.domain.runs.question import Asked, QuestionKind, parse_asked
from app.forms.checker import FormChecker
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


@pytest.mark.trap("Q8")
def test_a_form_takes_what_fits_and_refuses_the_rest_with_a_type(site: Site) -> None:
    ask = asking(site)
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    client, address = site.client(), ask(1, shape)
    for wrong in ({"n": "1"}, {}, {"n": 1, "m": 2}, [], "x", None, {"n": 10**400}):
        problem = client.post(address, json={"value": wrong})
        assert (problem.status_code, problem.get_json()["code"]) == (422, "invalid_input"), wrong
    deep = client.post(address, data=b'{"value": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", content_type="application/json")
    assert (deep.status_code, deep.get_json()["code"]) == (400, "bad_request")
    assert client.post(address, json={"value": {"n": 1}}).get_json()["state"] == "answered"


def test_an_answer_that_costs_too_much_uses_nothing_up(site: Site) -> None:
    ask = asking(site)
    client, address = site.client(), ask(1, {"uniqueItems": True})
    costly = client.post(address, json={"value": [{}, *([number] for number in range(3500))]})
    assert (costly.status_code, costly.get_json()["code"]) == (422, "form_too_costly")
    assert client.post(address, json={"value": [1, 2]}).get_json()["state"] == "answered"
    # What an older version let in is refused at the answer, and fetches nothing.
    for number, keyword in ((2, "$dynamicRef"), (3, "$ref")):
        problem = client.post(ask(number, {keyword: "file:///dev/zero"}), json={"value": 1})
        assert (problem.status_code, problem.get_json()["code"]) == (422, "form_uncheckable")


def test_only_who_may_answer_and_only_an_open_question_costs_a_check(site: Site) -> None:
    checked = []

    class Noting(FormChecker):
        def check_in_place(self, schema: Mapping[str, object], value: object, field: str = "value") -> None:
            checked.append(value)

    object.__setattr__(site.services, "forms", Noting(places=1))
    address = asking(site)(1, {})
    assert site.client("bob").post(address, json={"value": 1}).status_code == 404
    with site.services.forms.place(0.0):
        object.__setattr__(site.services.forms, "check", partial(site.services.forms.check, wait_s=0.0))
        busy = site.client().post(address, json={"value": 1})
    assert (busy.status_code, busy.get_json()["code"], int(busy.headers["Retry-After"]) > 0) == (503, "forms_busy", True)
    assert checked == []
    for value, status in ((1, 200), (1, 200), (2, 409)):
        assert site.client().post(address, json={"value": value}).status_code == status
    assert checked == [1]


def asking(site: Site) -> Callable[[int, dict[str, object]], str]:
    """Return what asks a form with any schema at all, and where it is answered."""
    run_id = site.submit()["id"]
    site.services.store.queue.dispatch_next(Limits(10, 10, 10, 10))
    run = site.services.store.leases.claim(run_id, "process", 20)
    assert run is not None

    def ask(number: int, schema: dict[str, object]) -> str:
        asked = Asked(number, "?", QuestionKind.FORM, schema=schema)
        site.services.store.questions.ask(run_id, run.token, 1, asked, 10)
        return f"/v1/questions/{run_id}-1-{number}/answer"

    return ask
