"""The defaults of forms that a program asks: whether one fits, told once per record whatever ends in between.

The check runs in a child process (app/forms). It is noted in SQL first: whatever it still does to this process is counted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from app.domain.errors import FormEndedProcesses, FormsBusy, FormTooCostly, FormUncheckable, InvalidInput
from app.domain.ids import question_id
from app.forms.checker import FormChecker
from app.supervise.worker.lease_scope import LeaseScope

if TYPE_CHECKING:
    from app.domain.runs.run import Run
    from app.supervise.session import AskQuestion

# So many claims may be gone before the check was done; then it is the form's fault.
MAX_KILLS = 3
WAIT_S = 1.0
# So often an attempt may have this process' time for nothing.
MAX_COSTLY = 3


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question is refused: a code for programs, a sentence for people."""

    code: str
    detail: str


class FormDefaults:
    """The checks of one attempt."""

    def __init__(self, lease: LeaseScope, run: Run, forms: FormChecker) -> None:
        """Check for the run as it was claimed."""
        self._lease, self._store, self._forms = lease, lease.context.store, forms
        self._run = run

    def refusal(self, ask: AskQuestion) -> Refusal | None:
        """Return why the question must be refused, None when its default fits. The same record always gets the same.

        Raises: FormsBusy when the check cannot be made now, Fenced.
        """
        run, number = self._run, ask.asked.number
        if self._lease.call_store(lambda: self._store.questions.get(question_id(run.id, run.attempt, number))) is not None:
            return None  # another claim found it good
        with self._forms.place(WAIT_S):
            known = self._lease.call_store(lambda: self._store.form_checks.note(run.id, run.token, run.attempt, ask.spool))
            if known.refusal is not None:
                return Refusal(**json.loads(known.refusal))
            return self._kept(ask, self._found(ask, known.kills))

    def _found(self, ask: AskQuestion, kills: int) -> Refusal | None:
        run = self._run
        try:
            if kills >= MAX_KILLS:
                raise FormEndedProcesses()
            if (
                self._lease.call_store(lambda: self._store.form_checks.refused(run.id, run.attempt, FormTooCostly.code))
                >= MAX_COSTLY
            ):
                raise FormTooCostly(
                    f"Checking this run's forms took more time or memory than it may {MAX_COSTLY} times: no more."
                )
            self._forms.check_in_place(ask.asked.schema or {}, ask.asked.default, "default")
        except (InvalidInput, FormTooCostly, FormUncheckable, FormEndedProcesses) as error:
            return Refusal(error.code, error.detail)
        except FormsBusy:
            self._lease.call_store(lambda: self._store.form_checks.put_off(run.id, run.token, run.attempt, ask.spool))
            raise
        return None

    def _kept(self, ask: AskQuestion, refusal: Refusal | None) -> Refusal | None:
        run, checks = self._run, self._store.form_checks
        if refusal is None:
            self._lease.call_store(lambda: checks.forget(run.id, run.attempt, ask.spool))
            return None
        said = json.dumps(asdict(refusal))
        self._lease.call_store(lambda: checks.refuse(run.id, run.attempt, ask.spool, said))
        return refusal
