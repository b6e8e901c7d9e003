"""The table of metrics: closed sets, one meaning per name, every place that counts is in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain import metrics
from app.domain.errors import LimitReached, PodwireError
from app.domain.metrics import METRICS, Kind
from app.domain.reconcile import repair
from app.domain.runs.run import Outcome, Priority, Reason, Status
from app.service.periodic import TICKS
from app.web.errors import UpgradeRequired
from tests.unit.supervise.doubles import make_run


@pytest.mark.trap("M3")
def test_what_is_not_in_a_label_s_set_counts_as_unknown() -> None:
    assert metrics.REFUSALS.count("limit_reached").labels == ("limit_reached",)
    assert metrics.REFUSALS.count("r" + "a" * 19).labels == ("unknown",)
    assert metrics.ENDED_RUNS.count("failed", "Strange").labels == ("failed", "unknown")


@pytest.mark.parametrize(
    ("size", "le", "total"), [(0.0, "0.1", 0.0), (0.1, "0.1", 0.1), (0.11, "0.5", 0.11), (1e6, "+Inf", 1e6), (-3.0, "0.1", 0.0)]
)
def test_an_observation_counts_in_the_first_bucket_that_holds_it(size: float, le: str, total: float) -> None:
    increment = metrics.QUEUE_WAIT.observe(size, "high")
    assert (increment.labels, increment.le, increment.value, increment.total) == (("high",), le, 1, total)


@pytest.mark.trap("M4")
def test_names_differ_and_say_what_they_are() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("podwire_") and metric.meaning.endswith(".")
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.bounds)
        assert len(metric.labels) == len(metric.sets)
        assert not {'"', "\\", "\n"} & set(metric.meaning + "".join(value for values in metric.sets for value in values))


def test_every_kind_of_work_and_refusal_has_its_label() -> None:
    assert {tick.name for tick in TICKS} <= set(metrics.PERIODIC_WORK)
    assert {LimitReached.code, UpgradeRequired.code, "internal"} <= set(metrics.refusal_codes())
    assert PodwireError.code not in metrics.refusal_codes()


def test_the_ends_that_are_exported_from_the_start_are_possible_ones() -> None:
    statuses, reasons = metrics.ENDED_RUNS.sets
    series = list(metrics.ENDED_RUNS.series())
    assert [reason for _, reason in series] == list(reasons) and {status for status, _ in series} == set(statuses)


@pytest.mark.trap("C7")
@pytest.mark.trap("M5")
def test_a_run_s_wait_counts_when_it_leaves_the_queue_to_be_started_and_at_no_other_step() -> None:
    queued = replace(make_run(), status=Status.QUEUED, created_at=100.0, priority=Priority.HIGH, dispatched_at=None)
    starting = replace(queued, status=Status.STARTING, dispatched_at=107.5)
    assert metrics.of_step(queued, starting) == [metrics.QUEUE_WAIT.observe(7.5, "high")]
    assert metrics.of_step(starting, replace(starting, status=Status.RUNNING)) == []
    outcome = Outcome(Status.CANCELLED, Reason.CANCELLED_BY_USER, "")
    ended = replace(queued, status=Status.CANCELLED, outcome=outcome)
    assert metrics.of_step(queued, ended) == [metrics.ENDED_RUNS.count("cancelled", "CancelledByUser")]


def test_what_handing_a_run_out_again_puts_right() -> None:
    run = replace(make_run(), status=Status.RUNNING, lease_until=None, dispatched_at=5.0)
    assert repair(run) == "not_claimed"
    assert repair(replace(run, lease_until=3.0)) == "lease_expired"
    assert repair(replace(run, dispatched_at=None)) == "released"
    assert repair(replace(run, status=Status.WAITING)) is None
