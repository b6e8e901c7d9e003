"""The rules of a supervised attempt: records, the row and the clock in, actions out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.agent.records.wire_format import Kind as Wire
from app.domain.ports import Record
from app.domain.runs.events import Kind
from app.domain.runs.lifecycle import Step
from app.domain.runs.question import Asked, Question, QuestionKind, QuestionState
from app.domain.runs.run import Reason, Run, Status
from app.supervise.session import (
    AskQuestion,
    ChangeStatus,
    End,
    HeldUp,
    SendCommand,
    Session,
    WriteEvent,
    answer_fields,
    question_fields,
    reply_body,
)
from tests.unit.supervise.doubles import make_run


def record(kind: Wire, body: dict[str, object] | bytes, position: int = 9) -> Record:
    return Record(kind, 5.0, body if isinstance(body, bytes) else json.dumps(body).encode(), position)


def ended(session: Session, **exit_record: object) -> End:
    (end,) = session.record(record(Wire.EXIT, exit_record))
    assert isinstance(end, End)
    return end


def running(**changes: object) -> Run:
    return make_run(**{"status": Status.RUNNING, "started_at": 0.0, "deadline_at": 100.0} | changes)


def test_output_carries_its_offset_in_the_run() -> None:
    session = Session(running(), offset=1000)
    first, second = (session.record(record(Wire.STDERR, data, 20))[0] for data in (b"abc", b"\xff"))
    assert first == WriteEvent(Kind.OUTPUT, {"stream": "stderr", "offset": 1000, "text": "abc"}, 5.0, 20, 3)
    assert isinstance(second, WriteEvent) and second.fields["offset"] == 1003 and "base64" in second.fields


def test_started_moves_a_starting_run_once() -> None:
    assert ChangeStatus(Step.START) in Session(make_run(), 0).record(record(Wire.STARTED, {"pid": 1}))
    assert [type(a) for a in Session(running(), 0).record(record(Wire.STARTED, {"pid": 1}))] == [WriteEvent]


def test_what_a_start_waits_for_is_kept_when_it_changes() -> None:
    quota = record(Wire.HELD, {"why": "quota"})
    assert Session(make_run(), 0).record(quota) == [HeldUp("quota")]
    assert Session(make_run(held_up="quota"), 0).record(quota) == []
    assert Session(make_run(held_up="quota"), 0).record(record(Wire.HELD, {"why": None})) == [HeldUp(None)]
    assert Session(running(), 0).record(quota) == [], "what has started waits for nothing"


@pytest.mark.parametrize(
    ("exit_record", "status", "reason"),
    [
        ({"exit_code": 0}, Status.SUCCEEDED, Reason.COMPLETED),
        ({"exit_code": 3}, Status.FAILED, Reason.NON_ZERO_EXIT),
        ({"exit_code": None, "signal": "SIGSEGV"}, Status.FAILED, Reason.SIGNALLED),
        ({"exit_code": 127, "launch_error": "no such command"}, Status.FAILED, Reason.LAUNCH_FAILED),
    ],
)
@pytest.mark.trap("S7")
def test_an_exit_has_a_typed_reason(exit_record: dict[str, object], status: Status, reason: Reason) -> None:
    outcome = ended(Session(running(), 0), **exit_record, peak_memory_bytes=7, cpu_seconds=1.5).outcome
    assert (outcome.status, outcome.reason, outcome.peak_memory_bytes, outcome.cpu_seconds) == (status, reason, 7, 1.5)
    assert outcome.message.endswith(".") or outcome.reason is Reason.LAUNCH_FAILED


def test_a_cancelled_run_is_asked_then_killed_then_given_up() -> None:
    run = running(cancel_requested_at=10.0, cancelled_by="ann")
    session = Session(running(), 0)
    move, term = session.watch(run, 10.0)
    assert move == ChangeStatus(Step.STOP, Reason.CANCELLED_BY_USER)
    assert isinstance(term, SendCommand) and term.body["signal"] == "TERM"
    session.run = running(status=Status.STOPPING, stopping_since=10.0, stop_reason=Reason.CANCELLED_BY_USER, cancelled_by="ann")
    assert signals(session.watch(run, 15.0)) == ["TERM"]
    assert signals(session.watch(run, 20.0)) == ["KILL"]
    assert signals(session.watch(run, 20.5)) == []
    assert signals(session.watch(run, 22.5)) == ["KILL"]
    (end,) = session.watch(run, 45.0)
    assert isinstance(end, End) and end.outcome.reason is Reason.CANCELLED_BY_USER


@pytest.mark.parametrize(
    ("held_up", "let_go_at", "at_once"),
    [("No node.", None, True), (None, None, False), ("Its image is being pulled.", 1.0, False)],
)
def test_a_cancelled_run_that_cannot_have_begun_is_given_no_grace(
    held_up: str | None, let_go_at: float | None, at_once: bool
) -> None:
    starting = make_run(held_up=held_up, let_go_at=let_go_at)
    actions = Session(starting, 0).watch(replace(starting, cancel_requested_at=5.0, cancelled_by="ann"), 6.0)
    ends = [action for action in actions if isinstance(action, End)]
    assert [(end.outcome.status, end.outcome.message, end.never_began) for end in ends] == (
        [(Status.CANCELLED, "Cancelled by ann.", True)] if at_once else []
    )
    assert (ChangeStatus(Step.STOP, Reason.CANCELLED_BY_USER) in actions) is not at_once


def test_an_admin_who_cancels_anothers_run_is_named() -> None:
    row = running(cancel_requested_at=1.0, cancelled_by="root")
    assert Session(running(), 0).watch(row, 2.0)[0] == ChangeStatus(Step.STOP, Reason.CANCELLED_BY_ADMIN)


def test_the_timeout_stops_a_running_run_but_not_a_waiting_one() -> None:
    assert Session(running(), 0).watch(running(), 99.0) == []
    assert Session(running(), 0).watch(running(), 101.0)[0] == ChangeStatus(Step.STOP, Reason.RUN_TIMEOUT)
    waiting = running(status=Status.WAITING, waiting_since=50.0)
    assert Session(waiting, 0).watch(waiting, 101.0) == []
    stopping = running(status=Status.STOPPING, stopping_since=101.0, stop_reason=Reason.RUN_TIMEOUT)
    assert ended(Session(stopping, 0), exit_code=0).outcome.status is Status.TIMED_OUT


def test_a_lost_agent_ends_the_run_with_its_own_reason() -> None:
    assert Session(running(), 0).lost().outcome.reason is Reason.AGENT_LOST
    stopping = running(status=Status.STOPPING, stopping_since=1.0, stop_reason=Reason.CANCELLED_BY_USER)
    assert Session(stopping, 0).lost().outcome.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("record", "status", "reason", "words"),
    [
        ({"reason": "OOMKilled", "signal": "SIGKILL"}, Status.FAILED, Reason.OOM_KILLED, "its limit of 512 MiB"),
        ({"reason": "ImagePullFailed", "message": "no such image"}, Status.FAILED, Reason.IMAGE_PULL_FAILED, "no such image"),
        ({"reason": "RunTimeout"}, Status.TIMED_OUT, Reason.RUN_TIMEOUT, "longer"),
        ({"reason": "Whatever", "exit_code": 3}, Status.FAILED, Reason.NON_ZERO_EXIT, "exit code 3"),
    ],
)
def test_an_end_that_the_place_of_execution_names(record: dict[str, object], status: Status, reason: Reason, words: str) -> None:
    outcome = ended(Session(running(), 0), **record).outcome
    assert (outcome.status, outcome.reason, words in outcome.message) == (status, reason, True)
    assert outcome.signal == record.get("signal")
    stopping = running(status=Status.STOPPING, stopping_since=1.0, stop_reason=Reason.CANCELLED_BY_USER)
    assert ended(Session(stopping, 0), **record).outcome.reason is Reason.CANCELLED_BY_USER


def test_a_question_is_asked_and_a_malformed_one_refused_visibly() -> None:
    session = Session(running(), 0)
    (ask,) = session.record(record(Wire.QUESTION, {"number": 1, "text": "Go?", "kind": "confirm"}, 33))
    assert isinstance(ask, AskQuestion) and (ask.asked.text, ask.spool) == ("Go?", 33)
    tell, notice = session.record(record(Wire.QUESTION, {"number": 2, "text": "", "kind": "choice"}, 44))
    assert isinstance(tell, SendCommand) and tell.body["state"] == "refused"
    assert isinstance(notice, WriteEvent) and notice.spool == 44


def test_waiting_follows_the_number_of_open_questions() -> None:
    assert Session(running(), 0).waits(2) == [ChangeStatus(Step.WAIT)]
    assert Session(running(), 0).waits(0) == []
    assert Session(running(status=Status.WAITING), 0).waits(0) == [ChangeStatus(Step.RESUME)]


def signals(actions: list[object]) -> list[object]:
    return [action.body["signal"] for action in actions if isinstance(action, SendCommand)]


def test_a_secret_shows_in_no_event_neither_as_answer_nor_as_default() -> None:
    asked = Asked(1, "Password?", QuestionKind.SECRET, default="hunter2")
    question = Question("q", "r", 1, asked, QuestionState.ANSWERED, 1.0, value="s3cret", answered_by="ann")
    assert question_fields(question)["question"]["default"] is None  # type: ignore[index]
    assert answer_fields(question) == {"question_id": "q", "state": "answered", "value": None, "by": "ann"}
    assert reply_body(question)["value"] == "s3cret"
