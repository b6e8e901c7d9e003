"""The kill test itself: runs, watchers and answers on one side, chaos on the other, for some minutes; then the table of counts.

What runs run on is the ground's business, what is done to the service that of the chaos.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from tests.integration.cluster import Podwire
from tests.kill.chaos import Chaos
from tests.kill.ground import Ground
from tests.kill.subjects import FAULTS, Subject, Tally

LEASE_S = 4.0
END_WITHIN_S = 90.0
UNENDED, LEFT = "processes that did not end", "left over"


@dataclass(frozen=True)
class Plan:
    """How much of it: for how long, which choices, how many runs at once, how long each of their steps takes on average and
    how many watch each.
    """

    duration_s: float
    seed: int
    at_once: int = 12
    pace_s: float = 0.06
    watchers: int = 4


@dataclass(frozen=True)
class Verdict:
    """What came of it: the table, and the faults in words."""

    table: str
    complaints: list[str]


def trial(podwire: Podwire, ground: Ground, chaos: Chaos, plan: Plan) -> Verdict:
    """Keep runs coming while chaos lasts, wait for all ends, judge."""
    tally = Tally()
    subjects: list[Subject] = []
    client = podwire.client()
    until = time.monotonic() + plan.duration_s
    villain = threading.Thread(target=chaos.wreak, args=(until,), daemon=True)
    villain.start()
    numbers = iter(range(plan.seed * 10_000, plan.seed * 10_000 + 10_000))
    while time.monotonic() < until - 5:
        if sum(one.final is None for one in subjects) < plan.at_once:
            subjects.append(Subject(client, next(numbers), ground, tally, plan.pace_s, plan.watchers))
            subjects[-1].start()
        time.sleep(0.1)
    villain.join(plan.duration_s + 120)
    wait_for_ends(subjects, time.monotonic() + END_WITHIN_S)
    for subject in subjects:
        subject.give_up.clear()
        subject.judge()
    for fault in chaos.faults:
        tally.complain(UNENDED, fault)
    for left in ground.leftovers():
        tally.complain(LEFT, left)
    return Verdict(_table(chaos, tally, ground, len(subjects), plan), tally.complaints)


def wait_for_ends(subjects: list[Subject], deadline: float) -> None:
    """Wait until every run has ended and every watcher knows, or until the monotonic time; whoever goes on then is stopped."""
    for subject in subjects:
        subject.join(max(0.0, deadline - time.monotonic()))
        for watcher in subject.watchers:
            watcher.join(max(0.0, deadline - time.monotonic()))
    for subject in subjects:
        subject.give_up.set()
        for watcher in subject.watchers:
            if watcher.is_alive():
                watcher.stop()
                watcher.error = watcher.error or TimeoutError("it was not told the end in time")
        subject.join(60)


def _table(chaos: Chaos, tally: Tally, ground: Ground, runs: int, plan: Plan) -> str:
    faults = [*FAULTS, ground.second, UNENDED, LEFT]
    rows: list[tuple[str, object]] = [("seed", plan.seed), ("seconds", round(plan.duration_s)), ("runs", runs)]
    rows += sorted((name, count) for name, count in tally.counts.items() if name not in faults)
    rows += [*sorted(ground.counts().items()), *sorted(chaos.counts.items())]
    rows += [(f"FAULT {name}", tally.counts[name]) for name in faults]
    return "\n".join(f"{name:<36}{value:>14}" for name, value in rows)
