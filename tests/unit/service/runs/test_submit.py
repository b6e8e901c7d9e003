"""Submitting: once a run is stored it is accepted, whatever fails after that."""

from __future__ import annotations

from types import SimpleNamespace

from app.domain.errors import StoreUnavailable
from app.domain.person import Person
from app.domain.queue.admission import Limits
from app.domain.runs.run import Priority
from app.domain.runs.spec import RunSpec, SpecLimits
from app.domain.tracing import NoTracer
from app.service.runs.submit import Submitted, submit
from app.store.runs.submissions import Entered
from tests.unit.supervise.doubles import make_run


class StoreThatFailsAfterTheCommit:
    def __init__(self, may_start: bool) -> None:
        self._may_start = may_start

    def submit(self, *_: object, **__: object) -> Entered:
        return Entered(make_run(), True, self._may_start)

    def dispatch_next(self, limits: Limits) -> None:
        raise StoreUnavailable()


def submitted(may_start: bool) -> Submitted:
    store = StoreThatFailsAfterTheCommit(may_start)
    services = SimpleNamespace(
        highest_priority=Priority.CRITICAL,
        store=SimpleNamespace(submissions=store, queue=store),
        limits=Limits(),
        spec_limits=SpecLimits({}),
        tracer=NoTracer(),
    )
    return submit(services, Person("u1", "ann"), RunSpec(command=("true",)), Priority.NORMAL)  # type: ignore[arg-type]


def test_a_database_that_fails_after_the_commit_does_not_make_the_run_look_refused() -> None:
    accepted = submitted(may_start=True)
    assert accepted.created and accepted.delayed


def test_a_run_for_which_there_was_no_place_costs_no_look_for_one() -> None:
    accepted = submitted(may_start=False)
    assert accepted.created and not accepted.delayed
