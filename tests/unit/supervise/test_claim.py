"""Taking runs under supervision, on a real store in a file: what happens when supervising itself fails."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from app.domain.errors import Fenced
from app.domain.person import Person
from app.domain.ports import Attempt
from app.domain.queue.admission import Limits
from app.domain.runs.events import Kind
from app.domain.runs.run import Priority, Reason, Run, Status
from app.domain.runs.spec import RunSpec
from app.live.memory import MemoryEventLog
from app.live.uses import MemoryUses
from app.store.store import make_store
from app.supervise.claim import FAULTY_CLAIMS, supervise
from app.supervise.log.archiver import Archiver
from app.supervise.worker.lease_scope import Drained
from app.supervise.worker.leases import Leases
from app.supervise.worker.wakeups import Wakeups
from app.supervise.worker.worker_context import DatabaseClock, WorkerContext
from tests.unit.supervise.doubles import RUN_ID


class FaultyLauncher:
    """A launcher with a bug."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def launch(self, attempt: Attempt) -> str:
        raise ValueError("a fault of ours")

    def remove(self, attempt: Attempt) -> bool:
        self.removed.append(attempt.run_id)
        return False


def context_of(engine: Engine, launcher: FaultyLauncher) -> WorkerContext:
    store = make_store(engine, "process")
    leases = Leases(store.leases, "process", 20, 5)
    log = MemoryEventLog()
    return WorkerContext(
        "process",
        20,
        10,
        store,
        log,
        MemoryUses(),
        launcher,
        leases,
        Archiver(),
        Wakeups(),
        DatabaseClock(store.clock.now),
        lambda: None,  # type: ignore[arg-type]
    )


def dispatched(context: WorkerContext) -> Run:
    owner = Person("u1", "ann")
    context.store.submissions.submit(RUN_ID, owner, RunSpec(command=("true",)), Priority.NORMAL, Limits())
    run = context.store.queue.dispatch_next(Limits())
    assert run is not None
    return run


@pytest.mark.trap("L5")
def test_a_fault_of_ours_is_tried_again_and_in_the_end_told(engine: Engine) -> None:
    launcher = FaultyLauncher()
    context = context_of(engine, launcher)
    run = dispatched(context)
    for claim in range(1, FAULTY_CLAIMS + 1):
        assert not context.store.runs.get(run.id).status.final, f"ended before claim {claim}"  # type: ignore[union-attr]
        supervise(context, run.id)
    ended = context.store.runs.get(run.id)
    assert ended is not None and ended.outcome is not None
    assert (ended.status, ended.outcome.reason) == (Status.FAILED, Reason.AGENT_LOST)
    kinds = [
        entry.payload for entry in context.store.log.read(run.id, 0, 100) if f'"kind":"{Kind.END}"'.encode() in entry.payload
    ]
    assert len(kinds) == 1
    assert set(launcher.removed) == {run.id}
    supervise(context, run.id)


@pytest.mark.trap("R4")
def test_the_loser_of_a_race_leaves_without_a_word(engine: Engine) -> None:
    context = context_of(engine, FaultyLauncher())
    run = dispatched(context)
    held = context.store.leases.claim(run.id, "another process", 20)
    assert held is not None
    supervise(context, run.id)
    assert context.store.runs.get(run.id) == held


def test_a_draining_process_takes_nothing(engine: Engine) -> None:
    context = context_of(engine, FaultyLauncher())
    run = dispatched(context)
    context.halt.set()
    with pytest.raises(Drained):
        supervise(context, run.id)
    after = context.store.runs.get(run.id)
    assert after is not None and after.token == 0


@pytest.mark.trap("R1")
def test_a_fenced_writer_changes_nothing(engine: Engine) -> None:
    context = context_of(engine, FaultyLauncher())
    run = dispatched(context)
    first = context.store.leases.claim(run.id, "process", -1.0)
    second = context.store.leases.claim(run.id, "other", 20)
    assert first is not None and second is not None
    with pytest.raises(Fenced):
        context.store.attempts.set_handle(run.id, first.token, "handle")
    assert context.store.runs.get(run.id) == second
