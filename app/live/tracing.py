"""Traces to an OpenTelemetry collector over OTLP/HTTP. Imported only where an endpoint is configured.

Spans wait in a bounded queue and are sent in the background; a collector that cannot be reached costs them
and lines in the log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.domain.runs.run import Run
from app.domain.tracing import Part, Untold

QUEUE_SPANS, BATCH_SPANS = 2048, 512
SEND_EVERY_MS, SEND_WITHIN_S = 1000, 2.0
_FORM = TraceContextTextMapPropagator()


class OtelPart:
    """A span that is open."""

    def __init__(self, span: Span) -> None:
        """Keep the span; whoever opened it ends it."""
        self._span = span
        carrier: dict[str, str] = {}
        _FORM.inject(carrier, set_span_in_context(span, Context()))
        self.context: str | None = carrier.get("traceparent")

    def note(self, **attributes: str | int | None) -> None:
        """Add attributes under Podwire's prefix."""
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(f"podwire.{name}", value)


class OtelTracer:
    """Sends spans to the collector at `endpoint`, its address without `/v1/traces`."""

    def __init__(self, endpoint: str, process_id: str) -> None:
        """Connect to nothing yet."""
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=SEND_WITHIN_S)
        names = {"service.name": "podwire", "service.instance.id": process_id}
        provider = TracerProvider(resource=Resource.create(names))
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUE_SPANS,
                max_export_batch_size=BATCH_SPANS,
                schedule_delay_millis=SEND_EVERY_MS,
                export_timeout_millis=SEND_WITHIN_S * 1000,
            )
        )
        self._provider = provider
        self._tracer = provider.get_tracer("podwire")

    def close(self) -> None:
        """Send what waits, or drop it. At the exit of a process this happens by itself."""
        self._provider.shutdown()

    @contextmanager
    def submission(self, incoming: str | None) -> Iterator[Part]:
        """Trace the block as a run's submission."""
        with self._open("submit", _context(incoming), None) as part:
            yield part

    @contextmanager
    def part(self, name: str, run: Run, *, parent: str | None = None, began_at: float | None = None) -> Iterator[Part]:
        """Trace the block, if the run has a trace."""
        if run.traceparent is None:
            yield Untold()
            return
        with self._open(name, _below(run, parent), began_at) as part:
            part.note(**_attributes(run))
            yield part

    def past(self, name: str, run: Run, began_at: float, ended_at: float) -> None:
        """Tell of a part that is over, if the run has a trace."""
        if run.traceparent is None:
            return
        span = self._tracer.start_span(name, _below(run, None), start_time=_ns(began_at))
        OtelPart(span).note(**_attributes(run))
        span.end(_ns(ended_at))

    @contextmanager
    def _open(self, name: str, context: Context, began_at: float | None) -> Iterator[OtelPart]:
        span = self._tracer.start_span(name, context, start_time=_ns(time.time() if began_at is None else began_at))
        part = OtelPart(span)
        try:
            yield part
        except BaseException as error:
            part.note(left=type(error).__name__)  # its text may hold anything
            raise
        finally:
            span.end()


def _attributes(run: Run) -> dict[str, str | int | None]:
    return {"run_id": run.id, "priority": run.priority.value, "attempt": run.attempt, "token": run.token}


def _context(traceparent: str | None) -> Context:
    return _FORM.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _below(run: Run, parent: str | None) -> Context:
    """Return the context of `parent` where it is of the run's trace, else the run's own."""
    own, given = _context(run.traceparent), _context(parent)
    same = get_current_span(own).get_span_context().trace_id == get_current_span(given).get_span_context().trace_id
    return given if same else own


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
