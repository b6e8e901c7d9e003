"""What machines ask: alive, ready, numbers. Open to everybody who reaches the port, so nothing of any user is in it."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response
from pydantic import BaseModel

from app.domain.errors import PodwireError
from app.domain.metrics import DEGRADED, DRAINING, PROCESSES, STREAMS, Metric
from app.service.metrics import Sample, collect
from app.web.api.answers import answer
from app.web.context import WebContext, context

bp = Blueprint("health", __name__)


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether the process should get requests."""

    status: Literal["ready", "not ready"]
    database: Literal["ok", "unavailable"]
    live: Literal["ok", "degraded"]
    draining: bool


@bp.get("/livez")
def alive() -> Response:
    """Say that this process answers."""
    return answer(Liveness())


@bp.get("/readyz")
def ready() -> Response:
    """Say whether this process should get requests. Without Redis it should: runs are accepted and streams go on from SQL."""
    site = context()
    live: Literal["ok", "degraded"] = "degraded" if site.hub.degraded else "ok"
    found = Readiness(status="ready", database=_database(), live=live, draining=site.drain.begun)
    if found.database == "ok" and not found.draining:
        return answer(found)
    return answer(found.model_copy(update={"status": "not ready"}), 503, Retry_After="2")


@bp.get("/metrics")
def metrics() -> Response:
    """Return the numbers in Prometheus' text format 0.0.4, the same from every process. Raises: StoreUnavailable (503)."""
    site = context()
    # What this process knows and the store does not yet belongs to the answer.
    site.services.store.counters.flush()
    site.services.store.counters.report(gauges_of(site))
    lines = [line for metric, samples in collect(site.services) for line in _exposed(metric, samples)]
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")


def gauges_of(site: WebContext) -> dict[str, float]:
    """Return what this process says of itself; the sums over all processes are exported."""
    return {
        PROCESSES.key("web"): 1,
        DRAINING.key("web"): int(site.drain.begun),
        STREAMS.key(): site.drain.open_streams,
        DEGRADED.key(): int(site.hub.degraded),
    }


def _database() -> Literal["ok", "unavailable"]:
    try:
        context().services.store.clock.now()
    except PodwireError:
        return "unavailable"
    return "ok"


def _exposed(metric: Metric, samples: list[Sample]) -> list[str]:
    # No label value or meaning of the table holds a character that would have to be escaped.
    return [
        f"# HELP {metric.name} {metric.meaning}",
        f"# TYPE {metric.name} {metric.kind}",
        *(f"{metric.name}{sample.suffix}{_labels(metric, sample)} {_number(sample.value)}" for sample in samples),
    ]


def _number(value: float) -> str:
    # In full: rounded, a large counter would stand still and then jump.
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _labels(metric: Metric, sample: Sample) -> str:
    pairs = [f'{name}="{value}"' for name, value in zip(metric.labels, sample.labels, strict=True)]
    if sample.le:
        pairs.append(f'le="{sample.le}"')
    return f"{{{','.join(pairs)}}}" if pairs else ""
