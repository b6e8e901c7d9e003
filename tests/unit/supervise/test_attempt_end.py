"""What follows the end of an attempt: the run's end, or another attempt, once, whoever dies when."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from app.agent.records.wire_format import Kind as Wire
from app.domain.errors import Fenced, LauncherUnavailable, LaunchRefused
from app.domain.ports import Attempt
from app.domain.queue.admission import Limits
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.retry import Retries, Retry
from app.domain.runs.run import Reason, Status
from app.supervise.claim import FAULTY_CLAIMS, supervise
from tests.unit.supervise.doubles import RUN_ID
from tests.unit.supervise.stage import ANN, STARTED, Play, PlayLink, Stage, exit_with, outputs

AGAIN = Retry(3, ("NonZeroExit", "RunTimeout", "AgentLost"))
DONE = [STARTED, (Wire.STDOUT, b"fine\n"), exit_with(0)]


def test_every_attempt_has_the_secrets_and_none_is_left_after_the_last(engine: Engine) -> None:
    stage = Stage(engine, Play([STARTED, exit_with(3)]), Play(DONE), retry=AGAIN, secrets=("KEY",))
    assert stage.play().status is Status.QUEUED
    assert stage.store.secrets.of_run(RUN_ID) == {"KEY": "s3cret"}
    assert stage.play().status is Status.SUCCEEDED
    assert [attempt.secrets for attempt in stage.launcher.attempts] == [{"KEY": "s3cret"}] * 2
    assert stage.store.secrets.of_run(RUN_ID) == {}


def test_only_the_attempt_that_a_run_failed_with_is_left_to_the_reconciler(engine: Engine) -> None:
    first, last = Play([STARTED, exit_with(3)]), Play([STARTED, exit_with(4)])
    stage = Stage(engine, first, last, retry=Retry(2, ("NonZeroExit",)))
    stage.keep_failed_s = 60.0
    assert [stage.play().status, stage.play().status] == [Status.QUEUED, Status.FAILED]
    assert (bool(first.removed), bool(last.removed)) == (True, False)
    assert (first.heard, last.heard) == (False, True), "who is not removed has heard that it may leave"


@pytest.mark.trap("C8", "S6")
def test_a_failure_that_the_spec_names_is_followed_by_another_attempt_with_one_log(engine: Engine) -> None:
    failing = Play([STARTED, (Wire.STDOUT, b"alas\n"), exit_with(3)])
    stage = Stage(engine, failing, Play(DONE), retry=AGAIN)
    before = stage.run
    queued = stage.play()
    assert (queued.status, queued.attempt, queued.handle, queued.outcome) == (Status.QUEUED, 2, None, None)
    assert (queued.started_at, queued.deadline_at, queued.lease_until, queued.archived.spool) == (None, None, None, 0)
    assert (queued.sequence, queued.priority, queued.created_at) == (before.sequence, before.priority, before.created_at)
    assert queued.not_before is not None and 2.5 < queued.not_before - stage.store.clock.now() < 5.1
    assert failing.removed and stage.released == [None]

    ended = stage.play()
    assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 2)
    told = [("starting", 1), ("running", 1), ("queued", 2), ("starting", 2), ("running", 2), ("succeeded", None)]
    assert stage.statuses() == told
    assert outputs(stage.events) == [(0, "alas\n"), (5, "fine\n")]
    (retried,) = (event for event in stage.events if event.get("status") == "queued")
    assert retried["former"] == {
        "reason": "NonZeroExit",
        "message": "The program ended with exit code 3.",
        "exit_code": 3,
        "signal": None,
    }
    assert str(retried["message"]).startswith(
        "Attempt 1 ended: The program ended with exit code 3. Next: attempt 2 of 3 in about "
    )
    (first,) = stage.attempts
    assert first.outcome is not None and first.outcome.reason is Reason.NON_ZERO_EXIT
    assert (first.number, first.first_seq, first.last_seq, first.first_offset, first.last_offset) == (1, 1, 4, 0, 5)
    assert [play.launched for play in stage.launcher.plays.values()] == [1, 1]


def test_attempts_have_an_end_and_the_last_one_s_reason_is_the_run_s(engine: Engine) -> None:
    stage = Stage(engine, *(Play([STARTED, exit_with(code)]) for code in (3, 4, 5)), retry=AGAIN)
    for status in (Status.QUEUED, Status.QUEUED, Status.FAILED):
        assert stage.play().status is status
    outcome = stage.run.outcome
    assert outcome is not None and (outcome.reason, outcome.exit_code) == (Reason.NON_ZERO_EXIT, 5)
    assert [part.outcome and part.outcome.exit_code for part in stage.attempts] == [3, 4]
    assert [(part.first_seq, part.last_seq) for part in stage.attempts] == [(1, 3), (4, 6)]


@pytest.mark.parametrize("death", ["before retry", "after retry"])
@pytest.mark.trap("R5", "C8")
def test_a_supervisor_that_dies_around_the_retry_neither_loses_nor_doubles_it(engine: Engine, death: str) -> None:
    stage = Stage(engine, Play([STARTED, (Wire.STDOUT, b"alas\n"), exit_with(3)]), Play(DONE), retry=AGAIN)
    run = stage.play(death)
    assert (run.status, run.attempt, len(stage.attempts)) == (Status.QUEUED, 2, 1)
    assert stage.play().status is Status.SUCCEEDED
    assert outputs(stage.events) == [(0, "alas\n"), (5, "fine\n")]
    assert [told for told in stage.statuses() if told[0] == "queued"] == [("queued", 2)]  # type: ignore[index]
    assert [play.launched for play in stage.launcher.plays.values()] == [1, 1]


@pytest.mark.trap("C8")
def test_a_launcher_that_is_away_for_long_costs_an_attempt_and_not_the_run(engine: Engine) -> None:
    away = [LauncherUnavailable("503")]
    stage = Stage(engine, Play(refusals=list(away)), Play(refusals=list(away)), Play(DONE))
    for attempt in (2, 3):
        run = stage.play()
        assert (run.status, run.attempt) == (Status.QUEUED, attempt)
    assert stage.play().status is Status.SUCCEEDED
    assert [part.outcome and part.outcome.reason for part in stage.attempts] == [Reason.LAUNCH_FAILED] * 2
    assert [part.started_at for part in stage.attempts] == [None, None]


@pytest.mark.trap("C8")
def test_what_a_launch_waits_for_is_in_the_row_until_it_is_launched(engine: Engine) -> None:
    full = LauncherUnavailable("The cluster quota q is used up: cpu 4/4.", reason="QuotaExceeded", waits=True)
    stage = Stage(engine, Play(DONE, refusals=[full, full]))
    seen: list[str | None] = []
    launch = stage.launcher.launch

    def look_and_launch(attempt: Attempt) -> str:
        seen.append(stage.run.held_up)
        return launch(attempt)

    stage.launcher.launch = look_and_launch  # type: ignore[method-assign]
    assert stage.play().status is Status.SUCCEEDED
    assert seen == [None, full.detail, full.detail]
    assert stage.run.held_up is None
    assert [event["code"] for event in stage.events if event["kind"] == "notice"] == ["quota_exceeded"]


def test_what_a_link_of_a_dead_supervisor_said_is_taken_back(engine: Engine) -> None:
    stage = Stage(engine, Play([(Wire.HELD, {"why": "No node."}), STARTED, *DONE[1:]]))
    seen: list[str | None] = []
    connect = stage.launcher.connect

    def look_and_connect(*words: object) -> PlayLink:
        seen.append(stage.run.held_up)
        return connect(*words)  # type: ignore[arg-type]

    stage.launcher.connect = look_and_connect  # type: ignore[method-assign]
    stage.store.queue.dispatch_next(Limits())
    stage.change(held_up="No node.", handle="handle-1")
    assert supervise(stage.context(), RUN_ID) is None
    assert (seen, stage.run.status, stage.run.held_up) == ([None], Status.SUCCEEDED, None)


@pytest.mark.trap("L5")
def test_claims_of_former_attempts_are_no_faults_of_this_one(engine: Engine) -> None:
    stage = Stage(engine, Play(refusals=[LauncherUnavailable("503")]), Play(DONE, refusals=[ValueError("a fault of ours")]))
    stage.change(token=FAULTY_CLAIMS - 2)
    assert stage.play(launch_within_s=-1.0).status is Status.QUEUED
    run = stage.play()
    assert (run.status, run.attempt, run.token > FAULTY_CLAIMS) == (Status.STARTING, 2, True), "one fault is tried again"
    supervise(stage.context(), RUN_ID)
    assert stage.run.status is Status.SUCCEEDED


@pytest.mark.trap("C8")
def test_an_attempt_after_one_that_was_held_up_is_not(engine: Engine) -> None:
    stage = Stage(engine, Play(refusals=[LauncherUnavailable("503")]), Play(DONE))
    assert (stage.play(launch_within_s=-1.0).status, stage.run.held_up) == (Status.QUEUED, None)
    assert stage.play().status is Status.SUCCEEDED


@pytest.mark.trap("C8")
def test_a_launcher_that_stays_away_ends_the_run_with_its_reason(engine: Engine) -> None:
    stage = Stage(engine, *(Play(refusals=[LauncherUnavailable("503 again")]) for _ in range(3)))
    deadline_at = stage.run.queue_deadline_at
    for status in (Status.QUEUED, Status.QUEUED, Status.FAILED):
        assert stage.play().status is status
    outcome = stage.run.outcome
    assert outcome is not None and (outcome.reason, outcome.message) == (Reason.LAUNCH_FAILED, "503 again")
    assert stage.run.queue_deadline_at == deadline_at, "waiting without having begun is one wait"


def test_what_is_refused_for_good_is_not_tried_again(engine: Engine) -> None:
    stage = Stage(engine, Play(refusals=[LaunchRefused("no such thing", reason="LaunchFailed")]))
    assert stage.play().status is Status.FAILED
    assert stage.attempts == []


@pytest.mark.parametrize(
    ("exit_record", "again"),
    [
        ({"reason": "ImagePullFailed", "message": "timeout", "began": False}, True),
        ({"reason": "ImagePullFailed", "message": "not found", "began": False, "hopeless": True}, False),
        ({"reason": "PodDeleted", "message": "deleted"}, False),
        ({"launch_error": "The command 'x' was not found."}, False),
    ],
)
def test_where_the_word_to_start_was_given_only_proof_that_nothing_began_helps(
    engine: Engine, exit_record: dict[str, object], again: bool
) -> None:
    stage = Stage(engine, Play([(Wire.EXIT, exit_record)], waits_for_word=True))
    run = stage.play()
    assert (run.status is Status.QUEUED) is again
    assert run.let_go_at is None or not again


@pytest.mark.parametrize("may_have_begun", [False, True])
def test_an_attempt_that_vanishes_before_its_start_is_tried_again_if_nothing_can_have_begun(
    engine: Engine, may_have_begun: bool
) -> None:
    stage = Stage(engine, Play([], may_have_begun=may_have_begun))
    assert (stage.play().status is Status.QUEUED) is not may_have_begun


def test_an_attempt_that_vanishes_after_its_start_is_not(engine: Engine) -> None:
    stage = Stage(engine, Play([STARTED]))
    run = stage.play()
    assert run.outcome is not None and (run.status, run.outcome.reason) == (Status.FAILED, Reason.AGENT_LOST)


def test_a_cancelled_run_is_not_tried_again(engine: Engine) -> None:
    stage = Stage(engine, Play([STARTED, exit_with(3)]), retry=AGAIN)
    stage.store.queue.dispatch_next(Limits())
    context = stage.context()
    retry = context.store.attempts.retry

    def late(*words: object) -> object:
        stage.store.runs.request_cancel(RUN_ID, ANN)  # after the last look, before the transaction
        return retry(*words)  # type: ignore[arg-type]

    context.store.attempts.retry = late  # type: ignore[method-assign, assignment]
    supervise(context, RUN_ID)
    run = stage.run
    assert run.outcome is not None
    assert (run.status, run.outcome.reason, run.attempt) == (Status.FAILED, Reason.NON_ZERO_EXIT, 1)
    assert stage.attempts == [] and stage.statuses()[-1] == ("failed", None)


def test_open_questions_are_closed_and_input_is_read_again_from_the_beginning(engine: Engine) -> None:
    asking = {"number": 1, "text": "Go on?", "kind": "text"}
    first = Play([STARTED, (Wire.ACK, {"id": "input-1"}), (Wire.QUESTION, asking), exit_with(3)])
    stage = Stage(engine, first, Play([STARTED, (Wire.QUESTION, asking), exit_with(0)]), retry=AGAIN, stdin=True)
    stage.store.inputs.add(RUN_ID, "a", "yes\n", True)
    stage.play()
    assert [question.state.value for question in stage.store.questions.of_run(RUN_ID)] == ["closed"]
    assert [line.number for line in stage.store.inputs.undelivered(RUN_ID)] == [1]
    stage.play()
    assert [(q.attempt, q.asked.number) for q in stage.store.questions.of_run(RUN_ID)] == [(1, 1), (2, 1)]


def test_no_retries_where_the_site_wants_none(engine: Engine) -> None:
    stage = Stage(engine, Play(refusals=[LauncherUnavailable("503")]), retries=Retries(1))
    assert stage.play().status is Status.FAILED


@pytest.mark.trap("R1")
def test_a_supervisor_of_the_former_attempt_can_do_no_harm(engine: Engine) -> None:
    stage = Stage(engine, Play([STARTED, exit_with(3)]), Play(DONE), retry=AGAIN)
    stage.store.queue.dispatch_next(Limits())
    late = stage.store.leases.claim(RUN_ID, "late", -1.0)
    assert late is not None
    again = stage.play()
    assert again.token > late.token + 1
    stage.store.leases.release(RUN_ID, late.token)
    with pytest.raises(Fenced):
        stage.store.attempts.let_go(RUN_ID, late.token, 1.0)
    with pytest.raises(Fenced):
        stage.store.runs.save(late, transition(late, Step.START, 1.0))
    assert stage.run == again
