"""Forms of hostile programs: nothing is fetched, the asker is told at once, and the run ends as it should."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.client import Client
from tests.integration.watcher import watch
from tests.servers import listening_site

# Asks each schema in turn, and says what came of it.
ASK = """
import podwire, sys
def ask(schema, **more):
    try:
        print("answered", podwire.form("?", schema, **more), flush=True)
    except podwire.Refused as refused:
        print("refused", refused, flush=True)
"""
UNIQUE = 'ask({"uniqueItems": True}, default=[{}] + [[n] for n in range(3500)])\n'
MANY = 'ask({"items": {"anyOf": [False] * 490 + [True]}}, default=[0] * 10000)\n'


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    """A server on the loopback, and what was asked of it."""
    with listening_site() as found:
        yield found


def test_a_form_makes_the_service_fetch_nothing(client: Client, site: tuple[str, list[str]]) -> None:
    url, asked = site
    script = ASK + "".join(
        f"ask({{'properties': {{'a': {{'{keyword}': '{address}'}}}}}}, default={{'a': 1}})\n"
        for keyword in ("$dynamicRef", "$ref", "$recursiveRef")
        for address in (f"{url}/{keyword}", "file:///dev/zero")
    )
    told = watch(client, client.submit(script, "python", timeout=60)).finish()
    lines = told.output.decode().splitlines()
    assert len(lines) == 6 and all(line.startswith("refused schema.properties.a.$") for line in lines), lines
    assert told.end["status"] == "succeeded" and asked == []
    assert {notice["reason"] for notice in told.of_kind("notice")} == {"invalid_input"}


def test_what_no_library_expects_is_refused_with_a_sentence(client: Client) -> None:
    script = ASK + (
        'ask({"$ref": "#/$defs/none"}, default=1)\n'
        "deep = {}\nfor _ in range(400): deep = {'items': deep}\n"
        "ask(deep)\n"
        'ask({"unevaluatedProperties": {"unevaluatedProperties": False}}, default={"a": {"b": 1}})\n'
        'ask({"items": {"allOf": [False] * 2000}}, default=[0] * 10000)\n'
        'try: podwire.number("?", default=10**400)\n'
        'except podwire.Refused as refused: print("refused", refused)\n'
        'ask({"type": "integer"}, default="x")\n'
    )
    told = watch(client, client.submit(script, "python", timeout=60)).finish()
    lines = told.output.decode().splitlines()
    assert len(lines) == 6 and all(line.startswith("refused ") and len(line) > 20 for line in lines), lines
    assert told.end["status"] == "succeeded"


@pytest.mark.parametrize("bomb", [UNIQUE, MANY], ids=["unique", "many"])
def test_a_form_that_costs_too_much_is_refused(client: Client, bomb: str) -> None:
    told = watch(client, client.submit(ASK + bomb, "python", timeout=60)).finish()
    assert told.output.startswith(b"refused Checking this form takes more time or memory than it may")
    assert told.end["status"] == "succeeded"
    assert [notice["reason"] for notice in told.of_kind("notice")] == ["form_too_costly"]


def test_a_program_that_asks_such_forms_at_once_is_ended_by_its_timeout_and_by_people(client: Client) -> None:
    script = ASK + "import threading\ndef again():\n  while True:\n    " + UNIQUE
    script += "for _ in range(8): threading.Thread(target=again).start()\n"
    timed, cancelled = (client.submit(script, "python", timeout=seconds, grace=0) for seconds in (5, 600))
    other = client.submit("echo $(ask --form '{\"type\": \"object\"}' --default '{}' --timeout 1 'Well?')")
    watch(client, cancelled).wait_for("refused")
    client.cancel(cancelled).must(200, 202)
    assert client.wait_end(cancelled)["status"] == "cancelled"
    assert client.wait_end(timed)["status"] == "timed_out"
    assert client.wait_end(other)["status"] == "succeeded"
    assert client.output(other) == b"{}\n"


def test_an_answer_that_costs_too_much_holds_up_nobody(client: Client) -> None:
    run = client.submit("ask --form '{\"uniqueItems\": true}' 'Which?'")
    (question,) = client.wait_question(run)
    one = client.at(0)
    with ThreadPoolExecutor(4) as pool:
        costly = [pool.submit(one.answer, question["id"], [{}, *([number] for number in range(3500))]) for _ in range(4)]
        served = 0
        while not any(answer.done() for answer in costly):
            one.get("/livez").must(200)
            served += 1
        assert served > 10
        assert {answer.result().must(422, 503).json["code"] for answer in costly} <= {"form_too_costly", "forms_busy"}
    one.answer(question["id"], [1, 2]).must(200)
    assert client.wait_end(run)["status"] == "succeeded"
