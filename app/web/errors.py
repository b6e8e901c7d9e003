"""Every failure of a request as one answer: RFC 9457 problem details. The only place that makes an error into HTTP."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException
from werkzeug.routing import WebsocketMismatch

from app.domain.bounded_json import shown
from app.domain.errors import InvalidInput, PodwireError
from app.domain.metrics import REFUSALS
from app.web.context import context

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}
_TITLES = {"limit_reached": "A limit of yours is reached", "queue_full": "The queue is full"}


class UpgradeRequired(PodwireError):
    """This address is a WebSocket: connect with a WebSocket client, or read the events beside it instead."""

    code, status = "upgrade_required", 426


def register(app: Flask) -> None:
    """Answer every error of the application."""
    app.register_error_handler(PodwireError, _of_ours)
    app.register_error_handler(WebsocketMismatch, _without_upgrade)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _unexpected)


def fields_of(error: PodwireError) -> dict[str, object]:
    """Return what a program may read of an error, on HTTP and on a stream: code, message, fields at fault and extensions."""
    fields: dict[str, object] = {"code": error.code, "message": error.detail}
    if isinstance(error, InvalidInput):
        fields["errors"] = [{"field": fault.field, "message": fault.message} for fault in error.errors]
    return {**error.extensions, **fields}


def problem(status: int, code: str, detail: str, **extensions: object) -> Response:
    """Return the problem document."""
    context().services.store.counters.note(REFUSALS.count(code))
    title = _TITLES.get(code) or code.replace("_", " ").capitalize()
    body = {**extensions, "type": f"urn:podwire:error:{code}", "title": title, "status": status, "detail": detail, "code": code}
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def _of_ours(error: PodwireError) -> Response:
    if error.status >= 500:
        # Ours says what it means to people; only the driver's, in its first line, says what to look at.
        cause = str(error.__cause__ or "").partition("\n")[0]
        logger.warning("answered %s: %s%s", error.code, error.detail, f" ({cause})" if cause else "")
    extensions = {name: value for name, value in fields_of(error).items() if name not in ("code", "message")}
    if error.retryable:
        extensions.setdefault("retry_after_s", RETRY_AFTER_S)
    response = problem(error.status, error.code, error.detail, **extensions)
    if "retry_after_s" in extensions:
        response.headers["Retry-After"] = str(extensions["retry_after_s"])
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="podwire"'
    return response


def _without_upgrade(error: WebsocketMismatch) -> Response:
    response = _of_ours(UpgradeRequired())
    response.headers["Upgrade"] = "websocket"
    return response


def _of_http(error: HTTPException) -> Response:
    if error.response is not None:
        return Response(error.response.get_data(), error.response.status_code, error.response.headers)  # type: ignore[attr-defined]
    status = error.code or 500
    response = problem(status, _CODES.get(status, shown(error.name.lower().replace(" ", "_"))), error.description or error.name)
    for name, value in _headers(error):
        response.headers[name] = value
    return response


def _headers(error: HTTPException) -> list[tuple[str, str]]:
    given: list[tuple[str, Any]] = list(error.get_headers())
    return [(name, str(value)) for name, value in given if name.lower() != "content-type"]


def _unexpected(error: Exception) -> Response:
    # The reader gets a number to quote, the log gets the rest.
    incident = uuid.uuid4().hex[:12]
    logger.error("incident %s", incident, exc_info=error)
    detail = "Something went wrong on our side; it has been recorded."
    return problem(500, "internal", detail, incident=incident)
