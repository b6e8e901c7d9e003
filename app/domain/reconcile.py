"""The plan that brings what is seen back to what is wanted: which runs to hand out again. Pure: rows in, ids out."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.run import SUPERVISED, Run, Status

REDISPATCH_AFTER_S = 5.0
# A parked run waits for a person without a supervisor; somebody looks after it this often, and at once when there is news for it.
LOOK_AFTER_PARKED_S = 15.0


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
