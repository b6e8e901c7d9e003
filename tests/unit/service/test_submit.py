"""Submitting: once a run is stored it is accepted, whatever fails after that."""

from __future__ import annotations

from types import SimpleNamespace

from app.domain.admission import Limits
from app.domain.errors import StoreUnavailable
from app.domain.person import Person
from app.domain.run import Priority
from app.domain.spec import RunSpec, SpecLimits
from app.domain.tracing import NoTracer
from app.service.submit import submit
from tests.unit.supervise.doubles import make_run


class RunsThatFailAfterTheCommit:
    def submit(self, *_: object, **__: object) -> tuple[object, bool]:
        return make_run(), True

    def dispatch_next(self, limits: Limits) -> None:
        raise StoreUnavailable()


def test_a_database_that_fails_after_the_commit_does_not_make_the_run_look_refused() -> None:
    services = SimpleNamespace(
        highest_priority=Priority.CRITICAL,
        runs=RunsThatFailAfterTheCommit(),
        limits=Limits(),
        spec_limits=SpecLimits({}),
        tracer=NoTracer(),
    )
    submitted = submit(services, Person("u1", "ann"), RunSpec(command=("true",)), Priority.NORMAL)  # type: ignore[arg-type]
    assert submitted.created and submitted.delayed
