"""Leftovers: what a failed run leaves is kept for its time if nothing of it runs, everything else goes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.domain.ids import new_run_id
from app.domain.person import Person
from app.domain.ports import Attempt
from app.domain.queue.admission import Limits
from app.domain.reconcile import SETTLE_S, Fate, fate, leaves_remains
from app.domain.runs.events import Entry, Kind, encode
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Priority, Progress, Reason, Run, Status
from app.domain.runs.spec import RunSpec
from app.live.memory import MemoryEventLog
from app.service.reconcile import announce_ends, remove_orphans
from app.service.services import Services
from app.store.log.chunks import Chunk
from tests.unit.web.doubles import Publishing, make_services, make_settings

ANN = Person("u1", "ann")
FAILED = Outcome(Status.FAILED, Reason.NON_ZERO_EXIT, "exit code 3", 3)


@dataclass
class Place:
    """A launcher's attempts, each with whether it has ended."""

    attempts: dict[tuple[str, int], bool] = field(default_factory=dict)

    def present(self) -> list[tuple[str, int]]:
        return list(self.attempts)

    def remove(self, attempt: Attempt, *, unless_ended: bool = False) -> None:
        if not (unless_ended and self.attempts[attempt.run_id, attempt.number]):
            del self.attempts[attempt.run_id, attempt.number]


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def services(tmp_path: Path, place: Place) -> Iterator[Services]:
    made = make_services(make_settings(tmp_path), Publishing(), Limits())
    yield replace(made, launcher=cast(Any, place), keep_failed_s=100.0)


def dispatched(services: Services) -> Run:
    """A run that has left the queue."""
    services.store.submissions.submit(new_run_id(), ANN, RunSpec(command=("x",)), Priority.NORMAL, services.limits)
    return cast(Run, services.store.queue.dispatch_next(services.limits))


def ended(services: Services, outcome: Outcome, ago_s: float) -> Run:
    """A run that ended so many seconds ago."""
    store, run = services.store, dispatched(services)
    run = store.runs.save(run, transition(run, Step.START, store.clock.now()))
    after = transition(run, Step.END, store.clock.now() - ago_s, outcome=outcome)
    return store.runs.finish(run, after, None, run.archived)


def test_the_ended_pod_of_a_failed_run_is_kept_for_its_time(services: Services, place: Place) -> None:
    young, old, running, settling = (ended(services, FAILED, ago_s) for ago_s in (80.0, 101.0, 80.0, 1.0))
    place.attempts = {(young.id, 1): True, (old.id, 1): True, (running.id, 1): False, (settling.id, 1): False}
    assert remove_orphans(services) == 1
    assert set(place.attempts) == {(young.id, 1), (settling.id, 1)}
    assert remove_orphans(replace(services, process_id="another", keep_failed_s=20.0)) == 1, "no process remembers anything"
    assert set(place.attempts) == {(settling.id, 1)}


def test_nothing_else_is_kept(services: Services, place: Place) -> None:
    won = ended(services, Outcome(Status.SUCCEEDED, Reason.COMPLETED, "", 0), 1.0)
    stopped = ended(services, Outcome(Status.CANCELLED, Reason.CANCELLED_BY_USER, "", 143), 1.0)
    failed = ended(services, FAILED, 80.0)
    place.attempts = dict.fromkeys([(won.id, 1), (stopped.id, 1), (failed.id, 2), (new_run_id(), 1)], True)
    assert remove_orphans(services) == 4
    assert place.attempts == {}


def test_without_the_setting_everything_goes_at_once(services: Services, place: Place) -> None:
    failed = ended(services, FAILED, 1.0)
    place.attempts = {(failed.id, 1): True}
    assert remove_orphans(replace(services, keep_failed_s=0.0)) == 1


def test_the_attempts_of_unfinished_runs_are_never_touched(services: Services, place: Place) -> None:
    run, *_ = services.store.submissions.submit(new_run_id(), ANN, RunSpec(command=("x",)), Priority.NORMAL, services.limits)
    services.store.queue.dispatch_next(services.limits)
    place.attempts = {(run.id, 1): True}
    assert remove_orphans(services) == 0 and place.attempts


def test_fates() -> None:
    assert [fate(since_s, 100.0) for since_s in (None, SETTLE_S - 1, SETTLE_S, 99.0, 100.0)] == [
        Fate.REMOVE,
        Fate.LEAVE,
        Fate.KEEP_IF_ENDED,
        Fate.KEEP_IF_ENDED,
        Fate.REMOVE,
    ]
    assert fate(1.0, 0.0) is Fate.REMOVE


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (FAILED, True),
        (replace(FAILED, exit_code=None, signal="SIGKILL", reason=Reason.OOM_KILLED), True),
        (replace(FAILED, exit_code=None, reason=Reason.EVICTED), True),
        (replace(FAILED, exit_code=None, reason=Reason.AGENT_LOST), False),
        (replace(FAILED, exit_code=None, reason=Reason.IMAGE_PULL_FAILED), False),
        (replace(FAILED, status=Status.TIMED_OUT), False),
        (replace(FAILED, status=Status.SUCCEEDED, exit_code=0), False),
    ],
)
def test_only_a_program_that_ended_for_sure_leaves_remains(outcome: Outcome, kept: bool) -> None:
    assert leaves_remains(outcome) is kept


def told_end(services: Services, run_id: str) -> bool:
    """Say whether the live log ends with the end event that SQL holds."""
    progress = cast(Run, services.store.runs.get(run_id)).archived
    entries = services.log.read(run_id, progress.epoch, progress.seq - 1, 10)
    return entries == services.store.log.read(run_id, progress.seq - 1, 10) != []


def ended_with_event(services: Services, ago_s: float) -> Run:
    """A run whose end is in SQL, and whose watchers were told of its beginning only."""
    store, run = services.store, dispatched(services)
    now = store.clock.now() - ago_s
    first, last = (Entry(seq, encode(1, seq, now, kind, {})) for seq, kind in ((1, Kind.STATUS), (2, Kind.END)))
    services.log.open(run.id, run.token, 1, 0)
    services.log.append(run.id, run.token, 1, [first])
    after = transition(run, Step.END, now, outcome=FAILED)
    return store.runs.finish(run, after, Chunk.pack([first, last], 1, 0, 0, 0), Progress(1, 2, 0, 0))


def test_an_end_that_nobody_lived_to_announce_is_announced(services: Services) -> None:
    young, lately, old = (ended_with_event(services, ago_s).id for ago_s in (0.0, 2.0, 100.0))
    assert announce_ends(services) == 1
    assert [told_end(services, run) for run in (young, lately, old)] == [False, True, False]
    assert announce_ends(services) == 0, "what was told is not told again"


def test_an_end_is_announced_where_the_live_log_was_lost(services: Services) -> None:
    run = ended_with_event(services, 2.0).id
    fresh = replace(services, log=MemoryEventLog())
    assert announce_ends(fresh) == 1 and told_end(fresh, run)
