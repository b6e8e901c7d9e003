"""The kill test itself: runs, watchers and answers on one side, chaos on the other, for some minutes; then the table of counts.

`python -m tests.kill.trial --minutes N [--seed S]` runs it alone (scripts/killtest); tests/kill/test_kill.py runs a short one.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.integration.cluster import Podwire
from tests.kill.chaos import Chaos
from tests.kill.subjects import FAULTS, Subject, Tally, noted
from tests.servers import Postgres

LEASE_S = 4.0
AT_ONCE = 12
PACE_S = 0.06
END_WITHIN_S = 90.0


@dataclass(frozen=True)
class Verdict:
    """What came of it: the table, and the faults in words."""

    table: str
    complaints: list[str]


def trial(podwire: Podwire, notes: Path, duration_s: float, seed: int) -> Verdict:
    """Keep runs coming while chaos lasts, wait for all ends, judge."""
    tally, chaos = Tally(), Chaos(podwire, seed, LEASE_S)
    subjects: list[Subject] = []
    client = podwire.client()
    until = time.monotonic() + duration_s
    villain = threading.Thread(target=chaos.wreak, args=(until,), daemon=True)
    villain.start()
    numbers = iter(range(seed * 10_000, seed * 10_000 + 10_000))
    while time.monotonic() < until - 5:
        if sum(one.final is None for one in subjects) < AT_ONCE:
            subjects.append(Subject(client, next(numbers), notes, tally, PACE_S))
            subjects[-1].start()
        time.sleep(0.1)
    villain.join(duration_s + 120)
    _wait_for_ends(subjects, time.monotonic() + END_WITHIN_S)
    starts, answers = noted(notes / "starts"), noted(notes / "answers")
    for subject in subjects:
        subject.give_up.clear()
        mine = [words[1:] for words in answers if words[0] == subject.run_id]
        subject.judge([words[1] for words in starts if words[0] == subject.run_id], mine)
    for fault in chaos.faults:
        tally.complain("processes that did not end", fault)
    return Verdict(_table(chaos, tally, len(subjects), duration_s, seed), tally.complaints)


def _wait_for_ends(subjects: list[Subject], deadline: float) -> None:
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


def _table(chaos: Chaos, tally: Tally, runs: int, duration_s: float, seed: int) -> str:
    rows: list[tuple[str, object]] = [("seed", seed), ("seconds", round(duration_s)), ("runs", runs)]
    rows += sorted((name, count) for name, count in tally.counts.items() if name not in FAULTS)
    rows += sorted(chaos.counts.items())
    rows += [(f"FAULT {name}", tally.counts[name]) for name in (*FAULTS, "processes that did not end")]
    return "\n".join(f"{name:<36}{value:>14}" for name, value in rows)


def main() -> int:
    """Run a trial from the command line; 1 when anything was wrong."""
    options = argparse.ArgumentParser(description="Kills everything at random under load and counts what went wrong.")
    options.add_argument("--minutes", type=float, default=2.0)
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.randrange(1, 100_000) if given.seed is None else given.seed
    print(f"seed {seed}, {given.minutes:g} minutes", flush=True)
    postgres = Postgres(max_connections=300)
    postgres.start()
    podwire = Podwire(postgres, lease_s=LEASE_S, renew_s=1, max_active=10, max_active_per_owner=10)
    try:
        podwire.start()
        verdict = trial(podwire, podwire.folder, given.minutes * 60, seed)
        print(verdict.table)
        for complaint in verdict.complaints[:50]:
            print(f"! {complaint}")
        return 1 if verdict.complaints else 0
    finally:
        podwire.stop()
        postgres.remove()


if __name__ == "__main__":
    sys.exit(main())
