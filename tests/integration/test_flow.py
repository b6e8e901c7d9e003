"""The shortest complete story: submitted on one replica, watched on another, answered on a third, followed by any worker."""

from __future__ import annotations

import pytest

from tests.integration.client import Client
from tests.integration.watcher import watch


@pytest.mark.trap("S1")
@pytest.mark.trap("Q1")
@pytest.mark.trap("R6")
@pytest.mark.trap("R8")
def test_one_run_over_three_replicas(client: Client) -> None:
    a, b, c = client.at(0), client.at(1), client.at(2)
    run = a.submit("echo begin; name=$(ask 'Name?'); echo hello $name; printf '10%%\\r20%%\\n'; exit 3")
    on_b, on_c = watch(b, run), watch(c, run, "sse")
    question = on_b.wait_event("question")[0]["question"]
    assert (question["text"], question["kind"]) == ("Name?", "text")
    assert a.wait_status(run, "waiting")["id"] == run
    c.answer(question["id"], "Ann").must(200)

    for told in (on_b.finish(b"begin\nhello Ann\n10%\r20%\n"), on_c.finish(b"begin\nhello Ann\n10%\r20%\n")):
        (answer,) = told.of_kind("answer")
        assert (answer["question_id"], answer["state"], answer["value"]) == (question["id"], "answered", "Ann")
        assert answer["by"] == client.person.name
        assert (told.end["status"], told.end["reason"], told.end["exit_code"]) == ("failed", "NonZeroExit", 3)
        assert told.resets == 0
    assert on_b.transcript.events == on_c.transcript.events
    assert on_b.closes == [] or on_b.closes == [1000]
    for replica in (a, b, c):
        assert replica.run(run)["outcome"]["reason"] == "NonZeroExit"  # type: ignore[index]
        assert replica.output(run) == b"begin\nhello Ann\n10%\r20%\n"
