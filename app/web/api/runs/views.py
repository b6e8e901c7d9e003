"""Runs over HTTP: submit, list, show, change, cancel, and send input."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for

from app.domain.errors import FieldError, InvalidInput
from app.domain.runs.run import Run
from app.domain.runs.usage import Use
from app.service import queries
from app.service.queries import WaitReason
from app.service.queue import queue_admin
from app.service.runs import cancel, stdin, submit
from app.service.runs.submit import Submitted
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.runs.requests import ChangeRequest, InputRequest, RunQuery, run_request
from app.web.api.runs.resources import Accepted, RunPage, RunResource, run_resource, run_summary
from app.web.api.shapes import NoQuery, cursor_of
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("runs", __name__)
SMALL_BYTES = 512 * 1024


@bp.post("/v1/runs")
def submit_run() -> Response:
    """Submit a run."""
    person, services = current_person(), context().services
    key = parsing.header("Idempotency-Key")
    asked = run_request(parsing.json_body(), services.spec_limits)
    done = submit.submit(
        services,
        person,
        asked.spec(),
        asked.priority,
        secrets=asked.secrets(),
        idempotency_key=key,
        request_hash=asked.fingerprint(context().settings.secret_key) if key else None,
        traceparent=request.headers.get("traceparent"),
    )
    return _accepted(done)


@bp.get("/v1/runs")
def list_runs() -> Response:
    """List runs."""
    query = parsing.query(RunQuery)
    found = queries.list_runs(
        context().services,
        current_person(),
        statuses=query.status,
        label=query.label,
        priority=query.priority,
        before=query.before,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    return answer(RunPage(items=[run_summary(run) for run in page], next=_next(page) if len(found) > query.limit else None))


@bp.get("/v1/runs/<run:run_id>")
def show_run(run_id: str) -> Response:
    """Show a run."""
    parsing.query(NoQuery)
    services = context().services
    run = queries.show(services, current_person(), run_id)
    return answer(_shown(run, context().wait_reasons.of_run(run), use=queries.use_of(services, run)))


@bp.patch("/v1/runs/<run:run_id>")
def change_run(run_id: str) -> Response:
    """Change a queued run's place."""
    person, services = current_person(), context().services
    asked = parsing.parse(ChangeRequest, parsing.json_body(SMALL_BYTES))
    if (asked.priority is None) == (asked.front is None):
        raise InvalidInput([FieldError("priority", "give either a priority or front")])
    if asked.priority is not None:
        return answer(_shown(queue_admin.set_priority(services, person, run_id, asked.priority)))
    return answer(_shown(queue_admin.move_to_front(services, person, run_id)))


@bp.post("/v1/runs/<run:run_id>/cancel")
def cancel_run(run_id: str) -> Response:
    """Cancel a run."""
    return answer(_shown(cancel.cancel(context().services, current_person(), run_id)), 202)


@bp.post("/v1/runs/<run:run_id>/input")
def send_input(run_id: str) -> Response:
    """Send standard input."""
    person = current_person()
    sent = parsing.parse(InputRequest, parsing.json_body(SMALL_BYTES))
    stdin.send(context().services, person, run_id, sent.data, sent.id or uuid.uuid4().hex, sent.eof)
    return answer(Accepted(), 202)


def _shown(run: Run, wait: WaitReason | None = None, *, dispatch: str | None = None, use: Use | None = None) -> RunResource:
    return run_resource(run, queries.attempts(context().services, run), wait, dispatch, use)


def _accepted(done: Submitted) -> Response:
    status = 200 if not done.created else 202 if done.delayed else 201
    resource = _shown(done.run, dispatch="delayed" if done.delayed else None)
    return answer(resource, status, Location=url_for("runs.show_run", run_id=done.run.id))


def _next(page: list[Run]) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return url_for("runs.list_runs") + "?" + urlencode([*query, ("cursor", cursor_of(page[-1].sequence))])
