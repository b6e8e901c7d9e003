"""Questions from running code, answered on any replica: accepted once, carried once, whatever is killed or blocked in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import watch
from tests.servers import wait_until

ASK_NAME = "name=$(ask 'Name?'); echo got $name"


@contextmanager
def nudges_blocked(podwire: Podwire) -> Iterator[None]:
    """Have Redis refuse the channel of nudges, to publishers and to subscribers, and nothing else."""
    with podwire.redis.client() as redis:
        # A pattern that is subscribed to must be allowed literally; the second one is Celery's.
        redis.execute_command("ACL", "SETUSER", "default", "resetchannels", "&pw:{*", "&/0.celery.pidbox", "&/0.celeryev/*")
        try:
            yield
        finally:
            redis.execute_command("ACL", "SETUSER", "default", "allchannels")


@pytest.mark.trap("Q2")
def test_an_answer_is_delivered_without_any_nudge(podwire: Podwire, client: Client) -> None:
    run = client.submit(ASK_NAME)
    (question,) = client.wait_question(run)
    with nudges_blocked(podwire):
        client.answer(question["id"], "Ann").must(200)
        assert client.wait_end(run)["status"] == "succeeded"
    assert client.output(run) == b"got Ann\n"


@pytest.mark.trap("Q3")
def test_of_many_answers_at_once_one_is_accepted_and_the_others_are_told_which(client: Client) -> None:
    run = client.submit(ASK_NAME)
    (question,) = client.wait_question(run)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: client.answer(question["id"], f"name{number % 10}"), range(20)))
    client.wait_end(run)
    accepted = client.questions(run)[0]["value"]
    for number, answer in enumerate(answers):
        if f"name{number % 10}" == accepted:
            assert answer.must(200).json["value"] == accepted
        else:
            assert answer.refused(409, "already_answered")["accepted"] == accepted
    assert client.output(run) == f"got {accepted}\n".encode()
    assert len(watch(client, run).finish().of_kind("answer")) == 1
    client.answer(question["id"], accepted).must(200)


@pytest.mark.trap("Q3")
def test_the_same_reply_again_is_the_same_answer_and_another_is_a_conflict(client: Client) -> None:
    run = client.submit(ASK_NAME)
    (question,) = client.wait_question(run)
    client.at(0).answer(question["id"], "Ann", id="reply-1").must(200)
    client.at(1).answer(question["id"], "Ann", id="reply-1").must(200)
    client.at(2).answer(question["id"], "Ann").must(200)
    assert client.at(1).answer(question["id"], "Bob", id="reply-2").refused(409, "already_answered")["accepted"] == "Ann"
    client.wait_end(run)
    assert client.output(run) == b"got Ann\n"


@pytest.mark.trap("Q4")
def test_a_stranger_is_turned_away_and_uses_nothing_up(podwire: Podwire, client: Client) -> None:
    run = client.submit(ASK_NAME)
    (question,) = client.wait_question(run)
    stranger = podwire.client()
    for _ in range(3):
        stranger.answer(question["id"], "mine").refused(404, "not_found")
    client.answer(question["id"], "Ann").must(200)
    client.wait_end(run)
    assert client.output(run) == b"got Ann\n"


@pytest.mark.trap("Q4")
def test_a_question_to_anyone_may_be_answered_by_others_who_see_nothing_else(podwire: Podwire, client: Client) -> None:
    run = client.submit("name=$(ask --anyone 'Name?'); echo got $name")
    (question,) = client.wait_question(run)
    stranger = podwire.client()
    stranger.answer(question["id"], "Eve").must(200)
    stranger.get(f"/v1/runs/{run}").refused(404, "not_found")
    client.wait_end(run)
    assert client.output(run) == b"got Eve\n"
    assert client.questions(run)[0]["answered_by"] == stranger.person.name


@pytest.mark.trap("Q5")
def test_a_question_is_shown_again_after_the_replica_that_showed_it_died(podwire: Podwire, client: Client) -> None:
    run = client.submit(ASK_NAME)
    watcher = watch(client.at(0, 1), run)
    first = watcher.wait_event("question")[0]["question"]
    podwire.web[0].kill()
    try:
        late = watch(client.at(1), run, "sse")
        assert late.wait_event("question")[0]["question"] == first
        assert [q["id"] for q in client.at(2).questions(run)] == [first["id"]]
        client.at(2).answer(first["id"], "Ann").must(200)
        watcher.finish(b"got Ann\n")
        late.finish(b"got Ann\n")
    finally:
        podwire.web[0].start()
        podwire.wait_ready()


@pytest.mark.trap("Q6")
@pytest.mark.trap("Q11")
def test_an_answer_that_comes_too_late_is_told_why(client: Client) -> None:
    expired = client.submit("ask --timeout 0.3 'Quick?' || echo status $?")
    cancelled = client.submit("ask 'Ever?'; sleep 60", grace=0)
    (open_question,) = client.wait_question(cancelled)
    client.cancel(cancelled).must(200, 202)
    assert client.wait_end(cancelled)["status"] == "cancelled"
    client.answer(open_question["id"], "now").refused(409, "question_closed")
    assert client.questions(cancelled)[0]["state"] == "closed"

    assert client.wait_end(expired)["status"] == "succeeded"
    (question,) = client.questions(expired)
    client.answer(question["id"], "now").refused(410, "question_expired")
    assert question["state"] == "expired"
    assert client.output(expired).splitlines()[-1] == b"status 3"

    for unknown in (f"{expired}-1-2", f"r{'a' * 19}-1-1", "x", "../../etc"):
        client.answer(unknown, "now").must(404)


@pytest.mark.trap("Q7")
@pytest.mark.trap("P6")
def test_a_deadline_fires_once_although_everything_was_restarted_meanwhile(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire()
    client = podwire.client()
    with_default = client.submit("echo chose $(ask --timeout 3 --default blue 'Colour?')")
    without = client.submit("ask --timeout 3 --confirm 'Deploy?'; echo status $?")
    for run in (with_default, without):
        client.wait_question(run)
    podwire.restart()
    for run in (with_default, without):
        client.wait_end(run)
    assert client.output(with_default) == b"chose blue\n"
    # No default: nothing is taken for a yes.
    # Why is said on stderr, another pipe: which of them is read first is open.
    assert b"status 3" in client.output(without).splitlines()
    for run, state, value in ((with_default, "answered", "blue"), (without, "expired", None)):
        told = watch(client, run).finish()
        (answer,) = told.of_kind("answer")
        assert (answer["state"], answer["value"], answer["by"]) == (state, value, None)


@pytest.mark.trap("Q8")
def test_only_what_was_offered_is_an_answer(client: Client) -> None:
    run = client.submit("ask --choice red --choice green 'Which?'; ask --number 'How many?'; ask 'Say <b>what</b>?'")
    (choice,) = client.wait_question(run)
    for wrong in ("blue", "Red", "", 0, None, ["red"], {"value": "red"}, "<script>alert(1)</script>"):
        problem = client.answer(choice["id"], wrong).refused(422, "invalid_input")
        assert problem["errors"][0]["field"] == "value"  # type: ignore[index]
    client.post(f"/v1/questions/{choice['id']}/answer", {}).refused(422, "invalid_input")
    client.post(f"/v1/questions/{choice['id']}/answer", {"value": "red", "also": 1}).refused(422, "invalid_input")
    client.answer(choice["id"], "red").must(200)

    wait_until(lambda: len(client.questions(run)) == 2, "the second question was asked")
    number = client.wait_question(run)[0]["id"]
    for wrong in ("5", True, "x"):
        client.answer(number, wrong).refused(422, "invalid_input")
    client.answer(number, 5).must(200)

    wait_until(lambda: len(client.questions(run)) == 3, "the third question was asked")
    text = client.wait_question(run)[0]["id"]
    assert client.answer(text, "x" * 1_000_000).must(413, 422).status
    client.answer(text, "<script>alert('ü')</script>").must(200)
    client.wait_end(run)
    assert client.output(run) == "red\n5\n<script>alert('ü')</script>\n".encode()


@pytest.mark.trap("Q8")
def test_a_secret_reaches_the_program_and_nobody_else(client: Client) -> None:
    run = client.submit("secret=$(ask --secret 'Password?'); echo ${#secret} characters")
    (question,) = client.wait_question(run)
    client.answer(question["id"], "tiger-4711").must(200)
    told = watch(client, run).finish(b"10 characters\n")
    assert "tiger" not in str(told.events)
    assert "tiger" not in str(client.questions(run))
    assert told.of_kind("answer")[0]["value"] is None


@pytest.mark.trap("Q9")
def test_waiting_runs_leave_their_place_to_others(small: Podwire) -> None:
    client = small.client()
    first = client.submit("echo $(ask 'One?')")
    client.wait_question(first)
    second = client.submit("echo $(ask 'Two?')")
    (question,) = client.wait_question(second)
    third = client.submit("echo done")
    assert client.wait_end(third)["status"] == "succeeded"
    client.answer(question["id"], "2").must(200)
    assert client.wait_end(second)["status"] == "succeeded"
    client.answer(client.wait_question(first)[0]["id"], "1").must(200)
    assert client.wait_end(first)["status"] == "succeeded"
    assert (client.output(first), client.output(second)) == (b"1\n", b"2\n")


@pytest.mark.trap("Q9")
def test_waiting_runs_leave_even_their_slot_to_others(other_podwire: Callable[..., Podwire]) -> None:
    """One worker that can supervise one run: three ask, and are answered in an order in which none of them has the slot."""
    client = other_podwire(web=1, workers=1, worker_concurrency=1).client()
    runs = [client.submit(f"echo before; a=$(ask 'Number {number}?'); echo got $a") for number in range(3)]
    questions = [client.wait_question(run)[0]["id"] for run in runs]
    assert client.wait_end(client.submit("echo done"))["status"] == "succeeded"
    for number in (1, 2, 0):
        client.answer(questions[number], f"{number}").must(200)
        watch(client, runs[number]).finish(b"before\ngot %d\n" % number)


@pytest.mark.trap("Q9")
def test_a_waiting_run_without_a_slot_can_be_cancelled(other_podwire: Callable[..., Podwire]) -> None:
    client = other_podwire(web=1, workers=1, worker_concurrency=1).client()
    runs = [client.submit("ask 'Well?'") for _ in range(3)]
    for run in runs:
        client.wait_question(run)
    for run in runs:
        client.post(f"/v1/runs/{run}/cancel", {})
        assert client.wait_end(run)["status"] == "cancelled"


@pytest.mark.trap("Q10")
def test_a_question_outlives_the_worker_and_an_answer_meanwhile_counts(podwire: Podwire, client: Client, starts: Path) -> None:
    runs = [client.submit(f"echo x >> {starts}; {ASK_NAME}") for _ in range(4)]
    questions = [client.wait_question(run)[0]["id"] for run in runs]
    for worker in podwire.workers:
        worker.kill()
    for question in questions:
        client.answer(question, "Ann").must(200)
    for worker in podwire.workers:
        worker.start()
    for run, question in zip(runs, questions, strict=True):
        told = watch(client, run).finish(b"got Ann\n")
        assert [event["question"]["id"] for event in told.of_kind("question")] == [question]
        assert len(told.of_kind("answer")) == 1
        assert len(client.questions(run)) == 1
    assert starts.read_text() == "x\n" * 4


@pytest.mark.trap("Q12")
def test_two_questions_at_once_are_answered_each_by_its_own_id(client: Client) -> None:
    run = client.submit("a=$(ask 'A?') & ask 'B?' > b; wait; echo b=$(cat b)\n(ask 'A2?' > a; echo a=$(cat a)) & wait")
    by_text = {q["text"]: q["id"] for q in client.wait_question(run, 2)}
    client.answer(by_text["B?"], "bee").must(200)
    wait_until(lambda: client.status(run) == "waiting", "one question was still open")
    client.answer(by_text["A?"], "ay").must(200)
    wait_until(lambda: len(client.questions(run)) == 3, "the last question was asked")
    client.answer(client.wait_question(run)[0]["id"], "last").must(200)
    watch(client, run).finish(b"b=bee\na=last\n")


@pytest.mark.trap("Q13")
def test_a_loop_of_questions_ends_at_the_cap_with_a_clear_error(small: Podwire) -> None:
    client = small.client()
    run = client.submit("for i in 1 2 3 4 5; do ask --timeout 0.1 --default $i 'Again?' || { echo refused; exit 9; }; done")
    told = watch(client, run).finish()
    assert told.end["exit_code"] == 9
    lines = told.output.decode().splitlines()
    assert lines[:3] == ["1", "2", "3"] and lines[-1] == "refused" and "3 questions" in " ".join(lines[3:])
    assert [notice["code"] for notice in told.of_kind("notice")] == ["question_refused"]
    assert len(told.of_kind("question")) == len(told.of_kind("answer")) == 3


@pytest.mark.trap("Q1")
def test_answers_come_over_the_socket_too_and_faults_get_a_reply(client: Client) -> None:
    run = client.submit(ASK_NAME)
    watcher = watch(client, run)
    question = watcher.wait_event("question")[0]["question"]["id"]
    for number, (asked, value) in enumerate(((question + "9", "x"), (question, 5), (question, "Ann"), (question, "Bob"))):
        watcher.send({"type": "answer", "id": f"c{number}", "question": asked, "value": value})
    told = watcher.finish(b"got Ann\n")
    replies = {reply["id"]: reply for reply in told.replies}
    assert replies["c0"]["error"]["code"] == "not_found"
    assert replies["c1"]["error"]["code"] == "invalid_input"
    assert replies["c2"]["ok"] is True
    assert replies["c3"]["error"]["code"] == "already_answered"
