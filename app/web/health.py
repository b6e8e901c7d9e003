"""What machines ask: alive, ready, numbers. Open to everybody who reaches the port, so nothing of any user is in it."""

from __future__ import annotations

from flask import Blueprint, Response

from app.domain.errors import PodwireError
from app.web.context import context
from app.web.rendering import answer
from app.web.resources import Liveness, Readiness

bp = Blueprint("health", __name__)


@bp.get("/livez")
def alive() -> Response:
    """Say that this process answers."""
    return answer(Liveness())


@bp.get("/readyz")
def ready() -> Response:
    """Say whether this process should get requests. Without Redis it should: runs are accepted and streams go on from SQL."""
    site = context()
    live = "degraded" if site.hub.degraded else "ok"
    found = Readiness(status="ready", database=_database(), live=live, draining=site.drain.begun)
    if found.database == "ok" and not found.draining:
        return answer(found)
    return answer(found.model_copy(update={"status": "not ready"}), 503, Retry_After="2")


@bp.get("/metrics")
def metrics() -> Response:
    """Return the numbers in Prometheus' text format. Those of the service come from the store: the same from every process."""
    site = context()
    lines = [
        *_gauge("podwire_streams", "Open streams of this process.", {"": site.drain.open_streams}),
        *_gauge("podwire_draining", "1 while this process is leaving.", {"": int(site.drain.begun)}),
        *_gauge("podwire_live_degraded", "1 while this process has no connection to Redis.", {"": int(site.hub.degraded)}),
        *_gauge("podwire_runs", "Runs that have not ended, by status group; from the store.", _runs()),
    ]
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")


def _database() -> str:
    try:
        context().services.runs.now()
    except PodwireError:
        return "unavailable"
    return "ok"


def _runs() -> dict[str, int]:
    try:
        _, everyone = context().services.runs.tallies("")
    except PodwireError:
        # No number is better than a wrong one.
        return {}
    counts = {"queued": everyone.queued, "active": everyone.active, "waiting": everyone.waiting}
    return {f'{{state="{state}"}}': max(0, count) for state, count in counts.items()}


def _gauge(name: str, meaning: str, values: dict[str, int]) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", *(f"{name}{label} {value}" for label, value in values.items())]
