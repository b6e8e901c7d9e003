"""The API's description (OpenAPI 3.1), generated from the models and one table of addresses.

A test holds the table against the addresses that the application really has.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from flask import Blueprint, Response, json
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.web.api.artefacts import ArtefactPage, ArtefactQuery, ArtefactsQuery
from app.web.api.audit import AuditQuery, ChangePage
from app.web.api.health import Liveness, Readiness
from app.web.api.limits import LimitsResource, ScopePage, ScopeQuery, ScopeRequest
from app.web.api.output import OutputQuery
from app.web.api.people import PersonResource
from app.web.api.questions import AnswerRequest, QuestionPage, QuestionResource
from app.web.api.queue import GatesRequest, GatesResource, QueuePage, QueueQuery
from app.web.api.runs.requests import ChangeRequest, InputRequest, RunQuery, RunRequest
from app.web.api.runs.resources import Accepted, RunPage, RunResource
from app.web.streams.frames import AnswerFrame, CancelFrame, InputFrame, PingFrame, StreamQuery

bp = Blueprint("openapi", __name__)
_JSON = "application/json"
_REF = "#/components/schemas/{model}"
_PLACES = {"run_id": "^r[a-z2-7]{19}$", "question_id": "^r[a-z2-7]{19}-[0-9]+-[0-9]+$", "name": "^.+$"}


class FieldFault(BaseModel):
    """One thing that is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457): `code` is for programs, `detail` for people; some have more."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldFault] | None = None
    limit: int | None = None
    current: int | None = None
    scope: str | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One address and method: what it takes, what it answers when all is well, and with what it may refuse."""

    method: str
    path: str
    summary: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answers: tuple[tuple[int, type[BaseModel] | str], ...] = ()
    refusals: tuple[int, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    open: bool = False


_RUN = "/v1/runs/{run_id}"
_KEY = (("Idempotency-Key", "The same key with the same request again returns the run that it made the first time."),)
ROUTES: tuple[Route, ...] = (
    Route(
        "post",
        "/v1/runs",
        "Submit a run",
        body=RunRequest,
        answers=((201, RunResource), (202, RunResource), (200, RunResource)),
        refusals=(400, 403, 413, 415, 422, 429, 503),
        headers=_KEY,
    ),
    Route("get", "/v1/runs", "List runs, newest first", query=RunQuery, answers=((200, RunPage),), refusals=(400, 422)),
    Route("get", _RUN, "Show a run", answers=((200, RunResource),), refusals=(404,)),
    Route(
        "patch",
        _RUN,
        "Change a queued run's place",
        body=ChangeRequest,
        answers=((200, RunResource),),
        refusals=(400, 403, 404, 409, 415, 422),
    ),
    Route("post", _RUN + "/cancel", "Cancel a run", answers=((202, RunResource),), refusals=(404,)),
    Route(
        "post",
        _RUN + "/input",
        "Send standard input to a run",
        body=InputRequest,
        answers=((202, Accepted),),
        refusals=(400, 404, 409, 415, 422, 429),
    ),
    Route(
        "get",
        _RUN + "/output",
        "Read the recorded output, also in ranges",
        query=OutputQuery,
        answers=((200, "application/octet-stream"), (206, "application/octet-stream")),
        refusals=(404, 416, 422),
        headers=(("Range", "One range of bytes, such as bytes=0-99 or bytes=-500."),),
    ),
    Route(
        "get",
        _RUN + "/artefacts",
        "List the files that a run left to be kept",
        query=ArtefactsQuery,
        answers=((200, ArtefactPage),),
        refusals=(400, 404, 410, 422),
    ),
    Route(
        "get",
        _RUN + "/artefacts/{name}",
        "Download such a file, also in ranges",
        query=ArtefactQuery,
        answers=((200, "application/octet-stream"), (206, "application/octet-stream")),
        refusals=(404, 410, 416, 422),
        headers=(("Range", "One range of bytes, such as bytes=0-99 or bytes=-500."),),
    ),
    Route(
        "get",
        _RUN + "/events",
        "Watch a run as server-sent events",
        query=StreamQuery,
        answers=((200, "text/event-stream"), (204, "")),
        refusals=(400, 404, 422, 503),
        headers=(("Last-Event-ID", "The position of the last event that was seen; wins over `position`."),),
    ),
    Route(
        "get",
        _RUN + "/stream",
        "Watch a run over a WebSocket",
        query=StreamQuery,
        answers=((101, ""),),
        refusals=(400, 403, 404, 422, 426, 503),
    ),
    Route("get", _RUN + "/questions", "List a run's questions", answers=((200, QuestionPage),), refusals=(404,)),
    Route("get", "/v1/questions", "List the open questions that I may answer", answers=((200, QuestionPage),)),
    Route(
        "post",
        "/v1/questions/{question_id}/answer",
        "Answer a question",
        body=AnswerRequest,
        answers=((200, QuestionResource),),
        refusals=(400, 404, 409, 410, 415, 422),
    ),
    Route("get", "/v1/queue", "List the queue", query=QueueQuery, answers=((200, QueuePage),), refusals=(422,)),
    Route("get", "/v1/admin/queue", "Show the queue as a whole (admins)", answers=((200, GatesResource),), refusals=(403, 422)),
    Route(
        "patch",
        "/v1/admin/queue",
        "Pause or close the queue, or end that (admins)",
        body=GatesRequest,
        answers=((200, GatesResource),),
        refusals=(400, 403, 415, 422),
    ),
    Route(
        "get",
        "/v1/audit",
        "List who steered what (all: admins; of one's own runs: everybody)",
        query=AuditQuery,
        answers=((200, ChangePage),),
        refusals=(403, 404, 422),
    ),
    Route("get", "/v1/me", "Show who I am", answers=((200, PersonResource),)),
    Route("get", "/v1/limits", "Show what a run may ask for", answers=((200, LimitsResource),)),
    Route("get", "/v1/admin/limits", "List the limits and shares that are set", answers=((200, ScopePage),), refusals=(403,)),
    Route(
        "put",
        "/v1/admin/limits",
        "Set the limits and the share of one scope",
        body=ScopeRequest,
        answers=((200, ScopePage),),
        refusals=(400, 403, 404, 415, 422),
    ),
    Route(
        "delete",
        "/v1/admin/limits",
        "Give one scope its defaults back",
        query=ScopeQuery,
        answers=((200, ScopePage),),
        refusals=(403, 404, 422),
    ),
    Route("get", "/v1/openapi.json", "Read this description", answers=((200, _JSON),), open=True),
    Route("get", "/livez", "Ask whether the process answers", answers=((200, Liveness),), open=True),
    Route(
        "get",
        "/readyz",
        "Ask whether the process should get requests",
        answers=((200, Readiness), (503, Readiness)),
        open=True,
    ),
    Route("get", "/metrics", "Read the process's numbers (Prometheus)", answers=((200, "text/plain"),), open=True),
)
_FRAMES = (AnswerFrame, InputFrame, CancelFrame, PingFrame)


@bp.get("/v1/openapi.json")
def description() -> Response:
    """Return the description."""
    return Response(_encoded(), mimetype=_JSON)


@functools.cache
def _encoded() -> str:
    return json.dumps(document())


def document() -> dict[str, object]:
    """Return the whole description."""
    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Podwire", "version": _version()},
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _schemes()},
    }


def _operation(route: Route) -> dict[str, object]:
    operation: dict[str, object] = {
        "summary": route.summary,
        "operationId": route.method + re.sub(r"[^a-z0-9]+", "_", route.path).rstrip("_"),
        "parameters": [*_places(route), *_query(route), *_headers(route)],
        "responses": _responses(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": _reference(route.body)}}}
    if route.open:
        operation["security"] = []
    return operation


def _responses(route: Route) -> dict[str, object]:
    found: dict[str, object] = {}
    for status, answer in route.answers:
        found[str(status)] = {"description": "As asked.", **_content(answer)}
    refusals = route.refusals if route.open else sorted({401, 503, *route.refusals})
    for status in refusals:
        content = {"application/problem+json": {"schema": _reference(Problem)}}
        found[str(status)] = {"description": "Refused; the problem says why.", "content": content}
    return found


def _content(answer: type[BaseModel] | str) -> dict[str, object]:
    if answer == "":
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {}}}
    return {"content": {_JSON: {"schema": _reference(answer)}}}


def _places(route: Route) -> list[dict[str, object]]:
    names = [name for name in _PLACES if "{" + name + "}" in route.path]
    return [_parameter(name, "path", {"type": "string", "pattern": _PLACES[name]}, required=True) for name in names]


def _query(route: Route) -> list[dict[str, object]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema(ref_template=_REF)
    return [_parameter(name, "query", form) for name, form in schema["properties"].items()]


def _headers(route: Route) -> list[dict[str, object]]:
    return [{**_parameter(name, "header", {"type": "string"}), "description": meaning} for name, meaning in route.headers]


def _parameter(name: str, place: str, schema: dict[str, object], required: bool = False) -> dict[str, object]:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _reference(model: type[BaseModel]) -> dict[str, object]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas() -> dict[str, object]:
    sent = {model for route in ROUTES for model in (route.body, route.query) if model is not None} | set(_FRAMES)
    received = {answer for route in ROUTES for _, answer in route.answers if isinstance(answer, type)} | {Problem}
    both = [(model, "validation") for model in sorted(sent, key=lambda m: m.__name__)]
    both += [(model, "serialization") for model in sorted(received, key=lambda m: m.__name__)]
    _, definitions = models_json_schema(both, ref_template=_REF)  # type: ignore[arg-type]
    schemas: dict[str, object] = definitions["$defs"]
    return schemas


def _schemes() -> dict[str, object]:
    return {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "podwire_session"},
    }


def _version() -> str:
    try:
        return version("podwire")
    except PackageNotFoundError:
        return "0"
