"""The one place where a run's status changes: the table of transitions and the function that applies it.

Stores save what this returns by compare-and-set on status and token; nobody else writes a status.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from app.domain.errors import Conflict
from app.domain.runs.run import Outcome, Reason, Run, Status


class Step(StrEnum):
    """What may happen to a run."""

    DISPATCH = "dispatch"
    START = "start"
    WAIT = "wait"
    RESUME = "resume"
    STOP = "stop"
    RETRY = "retry"
    END = "end"


_S = Status
TRANSITIONS: dict[tuple[Status, Step], frozenset[Status]] = {
    (_S.QUEUED, Step.DISPATCH): frozenset({_S.STARTING}),
    (_S.QUEUED, Step.END): frozenset({_S.CANCELLED, _S.EXPIRED}),
    (_S.STARTING, Step.START): frozenset({_S.RUNNING}),
    (_S.STARTING, Step.STOP): frozenset({_S.STOPPING}),
    (_S.STARTING, Step.END): frozenset({_S.FAILED, _S.CANCELLED, _S.TIMED_OUT, _S.EXPIRED}),
    (_S.STARTING, Step.RETRY): frozenset({_S.QUEUED}),
    (_S.RUNNING, Step.WAIT): frozenset({_S.WAITING}),
    (_S.RUNNING, Step.STOP): frozenset({_S.STOPPING}),
    (_S.RUNNING, Step.END): frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.TIMED_OUT}),
    (_S.RUNNING, Step.RETRY): frozenset({_S.QUEUED}),
    (_S.WAITING, Step.RESUME): frozenset({_S.RUNNING}),
    (_S.WAITING, Step.STOP): frozenset({_S.STOPPING}),
    (_S.WAITING, Step.END): frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.TIMED_OUT}),
    (_S.WAITING, Step.RETRY): frozenset({_S.QUEUED}),
    (_S.STOPPING, Step.RETRY): frozenset({_S.QUEUED}),
    (_S.STOPPING, Step.END): frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.TIMED_OUT}),
}


def transition(
    run: Run, step: Step, now: float, *, outcome: Outcome | None = None, reason: Reason | None = None, wait_s: float = 0.0
) -> Run:
    """Return the run after the step. `now` is the database's clock; `wait_s` how long a RETRY waits before it may start.

    The time a run waits for a person does not count against its timeout: RESUME moves the deadline by the time waited.

    Raises: Conflict when the table has no such step from the run's status, or not to the outcome's status, and for another
    attempt of a run that somebody has cancelled.
    """
    targets = TRANSITIONS.get((run.status, step))
    if not targets:
        raise Conflict(f"A run that is {run.status} cannot {step}.")
    if step is Step.END:
        return _end(run, now, outcome, targets)
    if step is Step.RETRY:
        return _retry(run, now, wait_s)
    (target,) = targets
    moved = replace(run, status=target, held_up=None)
    if step is Step.DISPATCH:
        return replace(moved, dispatched_at=now, not_before=None)
    if step is Step.START:
        return replace(moved, started_at=now, deadline_at=now + run.spec.timeout_s)
    if step is Step.WAIT:
        return replace(moved, waiting_since=now)
    if step is Step.STOP:
        return replace(_resumed(moved, now), stopping_since=now, stop_reason=reason)
    return _resumed(moved, now)


def _resumed(run: Run, now: float) -> Run:
    if run.waiting_since is None or run.deadline_at is None:
        return replace(run, waiting_since=None)
    return replace(run, waiting_since=None, deadline_at=run.deadline_at + (now - run.waiting_since))


def _retry(run: Run, now: float, wait_s: float) -> Run:
    """Begin the next attempt, as if the run had just been queued, in its old place.

    The queue timeout goes on where no code began; where it did, the run waits anew. The higher token fences the supervisor of
    the attempt that is over.
    """
    if run.cancel_requested_at is not None:
        raise Conflict("A run that was cancelled is not tried again.")
    waits_anew = run.started_at is not None
    return replace(
        run,
        status=Status.QUEUED,
        attempt=run.attempt + 1,
        token=run.token + 1,
        first_token=run.token + 1,
        handle=None,
        held_up=None,
        lease_owner=None,
        lease_until=None,
        dispatched_at=None,
        let_go_at=None,
        started_at=None,
        deadline_at=None,
        waiting_since=None,
        stopping_since=None,
        stop_reason=None,
        queued_again_at=now,
        not_before=now + wait_s,
        queue_deadline_at=now + run.spec.queue_timeout_s if waits_anew else run.queue_deadline_at,
    )


def _end(run: Run, now: float, outcome: Outcome | None, targets: frozenset[Status]) -> Run:
    if outcome is None or outcome.status not in targets:
        raise Conflict(f"A run that is {run.status} cannot end as {outcome.status if outcome else None}.")
    return replace(run, status=outcome.status, ended_at=now, outcome=outcome, held_up=None, lease_owner=None, lease_until=None)


def cancellation(run: Run) -> Outcome:
    """Return the outcome of a run that somebody cancelled: its owner, or an admin who is not."""
    by = run.cancelled_by or run.owner_name
    reason = Reason.CANCELLED_BY_USER if by == run.owner_name else Reason.CANCELLED_BY_ADMIN
    return Outcome(Status.CANCELLED, reason, f"Cancelled by {by}.")
