"""Getting an attempt started: the launcher is asked until it has started it, or it is clear that it never will."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from app.domain.errors import LauncherUnavailable, LaunchRefused, PodwireError
from app.domain.ports import Attempt
from app.domain.runs.events import Kind
from app.domain.runs.lifecycle import cancellation
from app.domain.runs.run import Outcome, Reason, Run, Status
from app.supervise.worker.lease_scope import RETRY_S, LeaseScope

logger = logging.getLogger(__name__)


class NotLaunched(Exception):
    """The attempt did not start and must not: the outcome says why. `hopeless` when another would not start either."""

    def __init__(self, outcome: Outcome, *, hopeless: bool = False) -> None:
        """Keep the outcome that the attempt ends with."""
        self.outcome, self.hopeless = outcome, hopeless
        super().__init__(outcome.message)


class Launching:
    """The launch of one attempt by one supervisor."""

    def __init__(self, lease: LeaseScope, run: Run, attempt: Attempt, hold_up: Callable[[str], None]) -> None:
        """Nothing is asked of the launcher yet. `hold_up` is told what the start waits for, whenever it had to."""
        self._hold_up = hold_up
        self._lease, self._context, self._run, self._attempt = lease, lease.context, run, attempt
        self._give_up_at = time.monotonic() + self._context.launch_within_s
        self._quota_told = False

    def handle(self) -> str:
        """Return the handle of the attempt once it is started. Raises: NotLaunched, AttemptGone, Fenced, Drained."""
        if self._run.cancel_requested_at is not None:
            raise NotLaunched(cancellation(self._run))
        attempt = self._whole()
        while True:
            self._lease.check()
            try:
                return self._context.launcher.launch(attempt)
            except LaunchRefused as error:
                outcome = _outcome(error, Reason.INVALID_SPEC)
                # What no run could do better is for whoever looks after this service.
                level = logging.ERROR if outcome.reason is Reason.LAUNCH_FAILED else logging.INFO
                logger.log(level, "run %s: refused by the launcher: %s", self._run.id, error.detail)
                raise NotLaunched(outcome, hopeless=True) from error
            except LauncherUnavailable as error:
                logger.warning("run %s: not launched yet: %s", self._run.id, error)
                self._bear(error)
            self._lease.pause(RETRY_S)
            self._lease.woken.clear()

    def _whole(self) -> Attempt:
        """Return the attempt with the values of its secrets, which nobody needs after the launch."""
        if not self._run.spec.secrets:
            return self._attempt
        return replace(self._attempt, secrets=self._lease.call_store(lambda: self._context.store.secrets.of_run(self._run.id)))

    def _bear(self, error: LauncherUnavailable) -> None:
        """Return when it should be tried again. Raises: NotLaunched."""
        waits = bool(error.extensions.get("waits"))
        if self._overdue() if waits else time.monotonic() > self._give_up_at:
            raise NotLaunched(_outcome(error, Reason.LAUNCH_FAILED)) from error
        self._hold_up(error.detail)
        if waits:
            self._report(error)
            self._look_for_cancellation()

    def _overdue(self) -> bool:
        """Say whether the run has waited for a place to run for longer than its queue timeout."""
        deadline_at = self._run.queue_deadline_at
        return deadline_at is not None and self._lease.now() > deadline_at

    def _report(self, error: LauncherUnavailable) -> None:
        """Tell watchers, once, what the run waits for."""
        if not self._quota_told:
            self._quota_told = True
            notice: dict[str, object] = {"code": "quota_exceeded", "message": error.detail}
            self._lease.log.add(self._lease.now(), Kind.NOTICE, notice)
            self._lease.log.publish()

    def _look_for_cancellation(self) -> None:
        row = self._lease.call_store(lambda: self._context.store.runs.get(self._run.id))
        if row is not None and row.cancel_requested_at is not None:
            raise NotLaunched(cancellation(replace(self._run, cancelled_by=row.cancelled_by)))


def _outcome(error: PodwireError, reason: Reason) -> Outcome:
    named = str(error.extensions.get("reason") or "")
    return Outcome(Status.FAILED, Reason(named) if named in list(Reason) else reason, error.detail)
