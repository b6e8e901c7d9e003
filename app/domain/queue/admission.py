"""Who may enter the queue, who is next, and how the wait is explained. Pure rules: the store counts and locks, this decides.

The order is in fairshare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.errors import LimitReached, QueueClosed, QueueFull
from app.domain.runs.run import Run, Status

# Mostly a worker takes a run at once.
TAKEN_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules of the queue as they are configured: limits on counts of runs, and how long a wait makes a run's priority one
    better (0 = never). Pending runs are queued + active + waiting ones. None is no limit.
    """

    owner_pending: int = 100
    owner_active: int = 10
    queue_length: int = 10_000
    active: int = 20
    group_pending: int | None = None
    group_active: int | None = None
    ageing_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many runs of a scope (one owner, or all) are queued, active (starting, running, stopping) and waiting for a person.

    Of all: `paused` when an admin lets nothing start, `closed` when nothing more is taken in.
    """

    queued: int = 0
    active: int = 0
    waiting: int = 0
    paused: bool = False
    closed: bool = False

    @property
    def pending(self) -> int:
        """All that have not ended."""
        return self.queued + self.active + self.waiting


@dataclass(frozen=True, slots=True)
class Group:
    """The group of a run's owner: its name, what it has, and its limits (None = no limit)."""

    name: str
    counts: Counts
    max_pending: int | None = None
    max_active: int | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """What there is of one limited label, whoever submitted it: `name=value`, the runs, and how many may not have ended."""

    label: str
    counts: Counts
    max_pending: int | None = None


def admit(limits: Limits, owner: Counts, everyone: Counts, group: Group | None = None, labels: Sequence[Labelled] = ()) -> None:
    """Let a run in. Raises: QueueClosed, LimitReached, QueueFull, with scope, limit, current count and when to retry."""
    if everyone.closed:
        raise QueueClosed(retry_after_s=60)
    if owner.pending >= limits.owner_pending:
        raise LimitReached(
            f"You have {owner.pending} runs that have not ended; the limit is {limits.owner_pending}.",
            scope="owner",
            limit=limits.owner_pending,
            current=owner.pending,
            retry_after_s=10,
        )
    if group is not None and group.max_pending is not None and group.counts.pending >= group.max_pending:
        raise LimitReached(
            f"Your group {group.name} has {group.counts.pending} runs that have not ended; the limit is {group.max_pending}.",
            scope=f"group:{group.name}",
            limit=group.max_pending,
            current=group.counts.pending,
            retry_after_s=10,
        )
    for each in labels:
        if each.max_pending is not None and each.counts.pending >= each.max_pending:
            raise LimitReached(
                f"There are {each.counts.pending} runs of {each.label} that have not ended; the limit is {each.max_pending}.",
                scope=f"label:{each.label}",
                limit=each.max_pending,
                current=each.counts.pending,
                retry_after_s=10,
            )
    if everyone.queued >= limits.queue_length:
        raise QueueFull(
            f"The queue holds {everyone.queued} runs; the limit is {limits.queue_length}.",
            limit=limits.queue_length,
            current=everyone.queued,
            retry_after_s=30,
        )


def has_room(limits: Limits, everyone: Counts) -> bool:
    """Say whether one more run of whomever may become active."""
    return not everyone.paused and everyone.active < limits.active


def has_place(limits: Limits, owner: Counts, everyone: Counts) -> bool:
    """Say whether one more run of this owner may become active."""
    return has_room(limits, everyone) and owner.active < limits.owner_active


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, …"""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def explain_start(run: Run, now: float) -> str | None:
    """Say in one sentence what a run waits for that has a place and has not started; None when nothing is in its way."""
    if run.status is not Status.STARTING:
        return None
    if run.held_up:
        return run.held_up
    handed_out_s = now - (run.dispatched_at or now)
    unheld = run.lease_until is None or run.lease_until < now
    return "It has a place and waits for a worker to take it." if unheld and handed_out_s > TAKEN_WITHIN_S else None


def explain_wait(
    position: int,
    limits: Limits,
    owner: Counts,
    everyone: Counts,
    group: Group | None = None,
    full_label: tuple[str, int] | None = None,
) -> str:
    """Say in one sentence why a queued run waits. `position` is 1-based, `full_label` a label of the run at its limit."""
    place = f"{ordinal(position)} in the queue"
    if everyone.paused:
        return f"{place}: an admin has paused the queue"
    if owner.active >= limits.owner_active:
        return f"{place}: waits for one of your own {owner.active} active runs"
    if group is not None and group.max_active is not None and group.counts.active >= group.max_active:
        return f"{place}: waits for one of the {group.counts.active} active runs of your group {group.name}"
    if full_label is not None:
        label, limit = full_label
        return f"{place}: at most {limit} of {label} at once"
    if everyone.active >= limits.active:
        return f"{place}: all {limits.active} places are taken"
    return f"{place}: about to start"
