"""Spans' contexts, and a collector that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.domain.runs.run import Priority, Run, Status
from app.domain.runs.spec import RunSpec
from app.live.tracing import QUEUE_SPANS, OtelTracer
from tests.servers import free_port

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN = Run("r", 1, "o", "o", RunSpec(command=("true",)), Priority.NORMAL, Status.QUEUED, 1.0)


@pytest.fixture
def tracer() -> Iterator[OtelTracer]:
    tracer = OtelTracer(f"http://127.0.0.1:{free_port()}", "process")
    yield tracer
    tracer.close()


def begun(tracer: OtelTracer, incoming: str | None) -> str:
    with tracer.submission(incoming) as part:
        return part.context or ""


def test_a_submission_continues_what_it_is_given(tracer: OtelTracer) -> None:
    sampled, not_sampled = (begun(tracer, f"00-{TRACE}-00f067aa0ba902b7-{flags}") for flags in ("01", "00"))
    assert sampled.split("-")[1::2] == [TRACE, "01"] and not_sampled.split("-")[1::2] == [TRACE, "00"]


@pytest.mark.parametrize("incoming", [None, "", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 100_000])
def test_anything_else_begins_a_trace(tracer: OtelTracer, incoming: str | None) -> None:
    context = begun(tracer, incoming)
    assert len(context) == 55 and TRACE not in context


def test_a_part_is_below_its_parent_only_within_the_runs_trace(tracer: OtelTracer) -> None:
    run = replace(RUN, traceparent=begun(tracer, None))
    for parent in (begun(tracer, None), "nonsense", None, run.traceparent):
        with tracer.part("claim", run, parent=parent) as part:
            assert part.context and run.traceparent and part.context.split("-")[1] == run.traceparent.split("-")[1]


def test_a_run_without_a_trace_gets_none(tracer: OtelTracer) -> None:
    with tracer.part("claim", RUN) as part:
        assert part.context is None
    tracer.past("queued", RUN, 1.0, 2.0)


def test_without_a_collector_everything_goes_on_and_errors_pass_through(tracer: OtelTracer) -> None:
    run = replace(RUN, traceparent=begun(tracer, None))
    for _ in range(2 * QUEUE_SPANS):
        tracer.past("queued", run, 1.0, 2.0)
    with pytest.raises(KeyError), tracer.part("follow", run):
        raise KeyError("secret")
