"""The end of an attempt: the run ends with it, or its next attempt is queued.

Either is one transaction, together with the last chunk of the attempt's log.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace

from app.domain.errors import LauncherUnavailable
from app.domain.runs.attempts import AttemptPart, all_attempts
from app.domain.runs.events import Entry, Kind
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.retry import Failure, explain_again, tried_again, wait_s
from app.domain.runs.run import Outcome, Run, Status
from app.supervise.attempt_evidence import AttemptEvidence
from app.supervise.session import End, end_event_fields
from app.supervise.worker.lease_scope import LeaseScope

logger = logging.getLogger(__name__)


class AttemptEnd:
    """Writes the end of one attempt. `remove` takes the attempt away and says whether its program may have begun."""

    def __init__(self, lease: LeaseScope, remove: Callable[[], bool]) -> None:
        """Write nothing yet."""
        self._lease, self._context, self._log = lease, lease.context, lease.log
        self._remove = remove

    def write(self, run: Run, end: End, evidence: AttemptEvidence) -> bool:
        """End the run (True), or queue its next attempt where that is the rule (False).

        What is kept of the log must fit into one chunk. Raises: Fenced.
        """
        if self._may_go_on(run, end) and self._queue_again(evidence.of(run), end.outcome):
            return False
        self._lease.call_store(lambda: self._finish(run, end, evidence))
        return True

    def _finish(self, before: Run, end: End, evidence: AttemptEvidence) -> None:
        with self._log.holding_archive():
            now = self._lease.now()
            after = evidence.of(transition(before, Step.END, now, outcome=end.outcome))
            entry = self._log.compose(now, Kind.END, end_event_fields(end, self._log.top.offset))
            self._context.store.runs.finish(before, after, *self._log.last_chunk(entry))
        self._log.ended(entry)
        logger.info("run %s: %s, %s", before.id, end.outcome.status, end.outcome.reason)

    # --- another attempt

    def _may_go_on(self, run: Run, end: End) -> bool:
        if end.for_good or end.outcome.status not in (Status.FAILED, Status.TIMED_OUT):
            return False
        # Only where it matters is it found out whether the program began.
        if not self._tried_again(run, end, began=False):
            return False
        return self._tried_again(run, end, began=True) or not self._began(run, end)

    def _tried_again(self, run: Run, end: End, *, began: bool) -> bool:
        failure = Failure(end.outcome.reason, began, end.hopeless)
        return tried_again(self._context.retries, run.spec.retry, run.attempt, failure)

    def _began(self, run: Run, end: End) -> bool:
        """Say whether the user's code may have begun: False only where that is certain."""
        if end.never_began:
            return False
        return run.started_at is not None or run.let_go_at is not None or self._remove()

    def _queue_again(self, run: Run, outcome: Outcome) -> bool:
        """Queue the next attempt; False when somebody has asked for the run's end."""
        former = self._lease.call_store(lambda: self._context.store.attempts.former(run.id)) if run.attempt > 1 else []
        row = self._lease.call_store(lambda: self._context.store.runs.get(run.id))
        if row is None or row.cancel_requested_at is not None:
            return False
        return self._lease.call_store(lambda: self._write_retry(run, outcome, former))

    def _write_retry(self, before: Run, outcome: Outcome, former: list[AttemptPart]) -> bool:
        with self._log.holding_archive():
            now, pause_s = self._lease.now(), wait_s(self._context.retries, before.attempt, random.random())
            after = transition(before, Step.RETRY, now, wait_s=pause_s)
            entry = self._announcement(before, outcome, now, pause_s)
            chunk, progress = self._log.last_chunk(entry)
            part = replace(
                all_attempts(before, former)[-1],
                ended_at=now,
                outcome=outcome,
                last_seq=progress.seq,
                last_offset=progress.offset,
            )
            if self._context.store.attempts.retry(before, after, part, chunk, progress) is None:
                return False
        self._log.ended(entry)
        logger.info("run %s: attempt %d ended, %s; another follows", before.id, before.attempt, outcome.reason)
        return True

    def _announcement(self, before: Run, outcome: Outcome, now: float, pause_s: float) -> Entry:
        number, of = before.attempt + 1, self._context.retries.attempts(before.spec.retry)
        message = f"Attempt {before.attempt} ended: {outcome.message} Next: {explain_again(number, of, pause_s, outcome.reason)}."
        ended = {
            "reason": outcome.reason.value,
            "message": outcome.message,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
        }
        fields: dict[str, object] = {"status": Status.QUEUED.value, "attempt": number, "message": message, "former": ended}
        return self._log.compose(now, Kind.STATUS, fields)


def began_after(remove: Callable[[], bool]) -> bool:
    """Remove an attempt that is over and say whether its program may have begun, as far as the place where it was can tell."""
    try:
        return remove()
    except LauncherUnavailable as error:
        # Where programs wait for the word to start, that it was not given is enough. Elsewhere the error says so.
        return bool(error.extensions.get("may_have_begun"))
