"""Defaults of forms on a whole run: noted before they are checked, refused with a reason, counted when the process is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, select

from app.agent.records.wire_format import Kind as Wire
from app.domain.errors import FieldError, FormsBusy, FormTooCostly, InvalidInput, PodwireError
from app.domain.queue.admission import Limits
from app.domain.runs.run import Status
from app.forms.checker import FormChecker
from app.store.schema.tables import form_checks
from app.supervise.claim import supervise
from app.supervise.form_default import MAX_KILLS
from app.supervise.supervisor import CHECK_ROW_EVERY_S
from app.supervise.worker.worker_context import WorkerContext
from tests.unit.supervise.doubles import RUN_ID
from tests.unit.supervise.stage import STARTED, Killed, Play, Stage, exit_with

SCHEMA: dict[str, object] = {"type": "object"}


def form(number: int = 1, **changes: object) -> tuple[Wire, dict[str, object]]:
    return Wire.QUESTION, {"number": number, "text": "?", "kind": "form", "schema": SCHEMA, "default": {}, **changes}


class ScriptedChecker(FormChecker):
    """Does what the test says at each check, and notes whether SQL knew of it before it began."""

    def __init__(self, stage: Stage, *outcomes: BaseException | None, places: int = 1000) -> None:
        """`places` are given out; then the process is gone."""
        super().__init__()
        self._stage, self.outcomes, self._left = stage, list(outcomes), places
        self.noted: list[int] = []

    def place(self, wait_s: float) -> AbstractContextManager[None]:
        self._left -= 1
        if self._left < 0:
            raise Killed
        return super().place(wait_s)

    def check_in_place(self, schema: Mapping[str, object], value: object, field: str = "value") -> None:
        self.noted.append(len(notes(self._stage)))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome


def notes(stage: Stage) -> list[tuple[int, int, str | None]]:
    with stage.engine.connect() as connection:
        rows = connection.execute(select(form_checks.c.position, form_checks.c.kills, form_checks.c.refusal))
        return [(row.position, row.kills, row.refusal) for row in rows]


def staged(engine: Engine, *records: tuple[Wire, dict[str, object] | bytes]) -> Stage:
    return Stage(engine, Play([STARTED, *records, exit_with(0)]))


def context(stage: Stage, checker: FormChecker) -> WorkerContext:
    return replace(stage.context(), forms=checker)


def dispatch(stage: Stage) -> None:
    stage.store.queue.dispatch_next(Limits())


def killed(stage: Stage, checker: FormChecker) -> None:
    """Have a process supervise that is gone before it is done."""
    with pytest.raises(Killed):
        supervise(context(stage, checker), RUN_ID)
    stage.change(lease_until=0.0)


def refusals(stage: Stage) -> list[object]:
    return [event["reason"] for event in stage.events if event["kind"] == "notice"]


def asked(stage: Stage) -> list[int]:
    return [question.asked.number for question in stage.store.questions.of_run(RUN_ID)]


def test_a_default_that_fits_is_noted_before_it_is_checked_and_leaves_nothing(engine: Engine) -> None:
    stage = staged(engine, form(), form(2, default=None))
    dispatch(stage)
    checker = ScriptedChecker(stage)
    supervise(context(stage, checker), RUN_ID)
    assert (asked(stage), checker.noted, notes(stage)) == ([1, 2], [1], [])


@pytest.mark.parametrize("error", [InvalidInput([FieldError("default", "is wrong")]), FormTooCostly()])
def test_a_default_that_will_not_do_is_refused_and_every_reader_of_the_record_says_the_same(
    engine: Engine, error: PodwireError
) -> None:
    stage = staged(engine, form(), form(2))
    dispatch(stage)
    # The second check ends the process: what it said of the first is read again by the next one.
    killed(stage, ScriptedChecker(stage, error, Killed()))
    ((_, _, kept), second) = notes(stage)
    assert json.loads(str(kept)) == {"code": error.code, "detail": error.detail} and second[2] is None
    again = ScriptedChecker(stage)
    supervise(context(stage, again), RUN_ID)
    assert (refusals(stage), asked(stage), len(again.noted)) == ([error.code], [2], 1)
    assert stage.run.status is Status.SUCCEEDED


def test_a_form_whose_check_ends_processes_is_refused_after_three_and_the_run_goes_on(engine: Engine) -> None:
    stage = staged(engine, form(), form(2))
    dispatch(stage)
    for kills in range(MAX_KILLS):
        killed(stage, ScriptedChecker(stage, Killed()))
        assert notes(stage) == [(2, kills, None)]
    last = ScriptedChecker(stage)
    supervise(context(stage, last), RUN_ID)
    assert (refusals(stage), asked(stage), len(last.noted)) == (["form_ended_processes"], [2], 1)
    assert stage.run.status is Status.SUCCEEDED


def test_kills_between_checks_are_counted_against_no_form(engine: Engine) -> None:
    stage = staged(engine, form(), form(2))
    dispatch(stage)
    for _ in range(12):
        killed(stage, ScriptedChecker(stage, places=0))
    checker = ScriptedChecker(stage)
    supervise(context(stage, checker), RUN_ID)
    assert (refusals(stage), asked(stage), len(checker.noted)) == ([], [1, 2], 2)


def test_a_check_that_cannot_be_made_now_is_made_later_and_counts_for_nothing(engine: Engine) -> None:
    stage = staged(engine, form())
    dispatch(stage)
    for _ in range(2 * MAX_KILLS):
        killed(stage, ScriptedChecker(stage, FormsBusy(), places=1))
        assert [kills for _, kills, _ in notes(stage)] == [0]
    supervise(context(stage, ScriptedChecker(stage, FormsBusy())), RUN_ID)
    assert (refusals(stage), asked(stage), notes(stage)) == ([], [1], [])


def test_a_run_that_is_being_ended_checks_nothing_more(engine: Engine) -> None:
    stage = staged(engine, *(form(number) for number in range(1, 6)))
    dispatch(stage)

    class Cancelling(ScriptedChecker):
        def check_in_place(self, schema: Mapping[str, object], value: object, field: str = "value") -> None:
            stage.change(cancel_requested_at=1.0)
            time.sleep(CHECK_ROW_EVERY_S)  # as long as a check may take that is stopped
            super().check_in_place(schema, value, field)

    checker = Cancelling(stage, FormTooCostly())
    supervise(context(stage, checker), RUN_ID)
    assert len(checker.noted) == 1 and stage.run.status is Status.CANCELLED
    assert refusals(stage) == ["form_too_costly", *["run_ended"] * 4]


def test_after_three_costly_forms_no_more_are_checked_whoever_supervises(engine: Engine) -> None:
    stage = staged(engine, *(form(number) for number in range(1, 7)))
    dispatch(stage)
    wrong = InvalidInput([FieldError("default", "is wrong")])
    first = ScriptedChecker(stage, FormTooCostly(), wrong, FormTooCostly(), Killed())
    killed(stage, first)
    second = ScriptedChecker(stage, FormTooCostly())
    supervise(context(stage, second), RUN_ID)
    assert (len(first.noted), len(second.noted), asked(stage)) == (4, 1, [])
    costly, invalid = "form_too_costly", "invalid_input"
    assert refusals(stage) == [costly, invalid, costly, costly, costly, costly]


def test_what_no_reader_can_read_is_refused_by_its_number(engine: Engine) -> None:
    deep = b'{"number": 2, "text": "?", "kind": "number", "default": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    stage = staged(engine, form(default=10**400), (Wire.QUESTION, deep), form(3, schema={"$dynamicRef": "file:///dev/zero"}))
    dispatch(stage)
    supervise(context(stage, ScriptedChecker(stage)), RUN_ID)
    assert stage.run.status is Status.SUCCEEDED and asked(stage) == []
    assert set(refusals(stage)) == {"bad_request", "invalid_input"}
    assert [body["number"] for body in stage.launcher.sent(Wire.REPLY)] == [1, 2, 3]
