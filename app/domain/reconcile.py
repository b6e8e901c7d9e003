"""The plan that brings what is seen back to what is wanted: which runs to hand out again, which attempts to remove. Pure: rows
in, ids out.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from app.domain.runs.run import SUPERVISED, Outcome, Reason, Run, Status

REDISPATCH_AFTER_S = 5.0
# A parked run waits for a person without a supervisor; somebody looks after it this often, and at once when there is news for it.
LOOK_AFTER_PARKED_S = 15.0
# How long the parts of a failed attempt have to end by themselves.
SETTLE_S = 60.0


def unsupervised(runs: Iterable[Run], now: float) -> list[Run]:
    """Return the runs that somebody should supervise while nobody does: no lease in force, and not handed out in the last
    few seconds.
    """
    return [run for run in runs if run.status in SUPERVISED and _lease_over(run, now) and _handed_out_long_ago(run, now)]


def _lease_over(run: Run, now: float) -> bool:
    return run.lease_until is None or run.lease_until < now


def _handed_out_long_ago(run: Run, now: float) -> bool:
    parked = run.status is Status.WAITING and run.lease_until is None
    return run.dispatched_at is None or run.dispatched_at + (LOOK_AFTER_PARKED_S if parked else REDISPATCH_AFTER_S) < now


def repair(run: Run) -> str | None:
    """Return what handing out an unsupervised run puts right, as `/metrics` counts it; None for a look after a parked run."""
    if run.lease_until is not None:
        return "lease_expired"
    if run.dispatched_at is None:
        return "released"
    return None if run.status is Status.WAITING else "not_claimed"


def orphans(present: Iterable[tuple[str, int]], wanted: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the attempts that are there although no unfinished run wants them."""
    keep = set(wanted)
    return [attempt for attempt in present if attempt not in keep]


class Fate(Enum):
    """What becomes of an attempt that no unfinished run wants."""

    REMOVE = "remove"
    LEAVE = "leave"
    KEEP_IF_ENDED = "keep_if_ended"


def leaves_remains(outcome: Outcome) -> bool:
    """Say whether what is left of an attempt with this outcome may be kept: it failed, and its program has ended for sure."""
    ended = outcome.exit_code is not None or outcome.signal is not None
    return outcome.status is Status.FAILED and (ended or outcome.reason in (Reason.DISK_LIMIT, Reason.EVICTED))


def fate(failed_since_s: float | None, keep_failed_s: float) -> Fate:
    """Return what becomes of an attempt whose run failed so many seconds ago, or (None) did not fail with this attempt."""
    if failed_since_s is None or failed_since_s >= keep_failed_s:
        return Fate.REMOVE
    return Fate.LEAVE if failed_since_s < SETTLE_S else Fate.KEEP_IF_ENDED
