"""Traces of runs: one trace through web and worker, continued after a kill, and nothing loaded where it is off."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.client import Client
from tests.integration.cluster import ROOT, Podwire
from tests.servers import Postgres, wait_until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


class Collector:
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        """Listen on a free port; `close` ends it."""
        spans: list[Span] = []
        bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                bodies.append(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._spans, self.bodies = spans, bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def of(self, run: str, name: str) -> list[Span]:
        """Return the spans of a run that have the name."""
        return [span for span in list(self._spans) if span.name == name and attribute(span, "run_id") == run]


def attribute(span: Span, name: str) -> str | int | None:
    """Return what the span says of itself."""
    for each in span.attributes:
        if each.key == f"podwire.{name}":
            return each.value.string_value or each.value.int_value
    return None


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(postgres: Postgres, collector: Collector) -> Iterator[Podwire]:
    podwire = Podwire(postgres, web=1, workers=1, otlp_endpoint=collector.url, retry_backoff_s=0.5)
    try:
        podwire.start()
        yield podwire
    finally:
        podwire.stop()


def submit(client: Client, script: str) -> str:
    """Submit a script with a secret, as a part of a trace that there is already."""
    env = {"KEY": {"value": "hidden-value", "secret": True}}
    body = {"script": script, "language": "bash", "env": env}
    return str(client.post("/v1/runs", body, {"traceparent": TRACEPARENT}).must(201, 202).json["id"])


def test_each_attempt_has_its_spans_in_the_one_trace(traced: Podwire, collector: Collector) -> None:
    client = traced.client()
    body = {"script": "exit 3", "language": "bash", "retry": {"max_attempts": 2, "reasons": ["NonZeroExit"]}}
    run = str(client.post("/v1/runs", body, {"traceparent": TRACEPARENT}).must(201, 202).json["id"])
    client.wait_end(run)
    wait_until(lambda: len(collector.of(run, "follow")) == 2, "the spans of both attempts have come")
    (root,) = collector.of(run, "submit")
    assert root.trace_id.hex() == TRACE
    for name in ("queued", "dispatch", "claim", "launch", "follow", "end"):
        spans = sorted(collector.of(run, name), key=lambda span: span.start_time_unix_nano)
        assert [attribute(span, "attempt") for span in spans] == [1, 2], name
        assert {span.trace_id for span in spans} == {root.trace_id}, name
        assert all(span.parent_span_id == root.span_id for span in spans if name != "claim"), name
        assert spans[0].end_time_unix_nano <= spans[1].start_time_unix_nano or name == "claim", name
    sent_by = {attribute(span, "attempt"): span.span_id for span in collector.of(run, "dispatch")}
    assert {attribute(span, "attempt"): span.parent_span_id for span in collector.of(run, "claim")} == sent_by
    first, second = sorted(collector.of(run, "queued"), key=lambda span: span.start_time_unix_nano)
    (ended, _) = sorted(collector.of(run, "end"), key=lambda span: span.start_time_unix_nano)
    assert first.start_time_unix_nano < ended.start_time_unix_nano <= second.end_time_unix_nano
    assert [attribute(span, "reason") for span in collector.of(run, "end")] == ["NonZeroExit", "NonZeroExit"]


def must_hang_together(collector: Collector, run: str) -> None:
    (root,) = collector.of(run, "submit")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, CALLER)
    for name in ("queued", "dispatch", "launch", "follow", "end"):
        for span in collector.of(run, name):
            assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id), name
    sent_by = {span.span_id for span in collector.of(run, "dispatch")}
    for span in collector.of(run, "claim"):
        assert span.trace_id == root.trace_id and span.parent_span_id in sent_by
    for name in ("queued", "dispatch", "claim", "launch", "follow", "end"):
        assert collector.of(run, name), name
        for span in collector.of(run, name):
            assert (attribute(span, "priority"), attribute(span, "attempt")) == ("normal", 1)
            assert span.start_time_unix_nano <= span.end_time_unix_nano
    (end,) = collector.of(run, "end")
    assert (attribute(end, "status"), attribute(end, "reason")) == ("succeeded", "Completed")


def test_a_run_is_one_trace_from_its_submission_to_its_end(traced: Podwire, collector: Collector) -> None:
    client = traced.client()
    run = submit(client, "echo hidden-code")
    client.wait_end(run)
    wait_until(lambda: collector.of(run, "follow") and collector.of(run, "submit"), "the spans have come")
    must_hang_together(collector, run)
    assert not any(b"hidden-" in body for body in collector.bodies)


def test_a_takeover_continues_the_trace(traced: Podwire, collector: Collector, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    client = traced.client()
    run = submit(client, f"until [ -e {go_on} ]; do sleep 0.1; done")
    client.wait_status(run, "running")
    wait_until(lambda: collector.of(run, "launch"), "the launch is told of")
    traced.workers[0].kill()
    traced.workers[0].start()
    wait_until(lambda: len(collector.of(run, "claim")) == 2, "another worker has the run")
    go_on.touch()
    client.wait_end(run)
    wait_until(lambda: collector.of(run, "follow"), "the spans have come")
    must_hang_together(collector, run)
    assert [attribute(span, "token") for span in collector.of(run, "claim")] == [1, 2]
    assert [attribute(span, "token") for span in collector.of(run, "follow")] == [2], "the killed worker's is missing"
    assert len(collector.of(run, "launch")) == 1


BUILD = """
import sys, tasks.runs, app.web.factory
from app.domain.errors import SettingsError
from app.wiring import build_services
from config.settings import Settings
try:
    build_services(Settings.from_env())
except SettingsError as error:
    print(error)
else:
    print(any(name == "app.live.tracing" or name.startswith("opentelemetry.exporter") for name in sys.modules))
"""
# As if it were not installed.
WITHOUT = "import sys; sys.modules['opentelemetry'] = None\n"
MISSING = "PODWIRE_OTLP_ENDPOINT is set, but the extra `otel` of Podwire is not installed."


@pytest.mark.parametrize(
    ("endpoint", "code", "said"),
    [
        ("", BUILD, "False"),
        ("http://127.0.0.1:1", BUILD, "True"),
        ("", WITHOUT + BUILD, "False"),
        ("http://127.0.0.1:1", WITHOUT + BUILD, MISSING),
    ],
)
def test_a_process_that_traces_nothing_loads_and_needs_nothing_of_it(endpoint: str, code: str, said: str, tmp_path: Path) -> None:
    # The Redis client imports a part of OpenTelemetry's SDK by itself where it is installed; that is not looked at.
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PODWIRE_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}",
        "PODWIRE_REDIS_URL": "redis://127.0.0.1:1/0",
        "PODWIRE_SECRET_KEY": "x" * 32,
        "PODWIRE_STATE_DIR": str(tmp_path),
        "PODWIRE_OTLP_ENDPOINT": endpoint,
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == said, done.stderr
