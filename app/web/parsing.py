"""Reads what a request carries: JSON bodies, queries, headers. Every fault is named at once; none is ever an error of ours.

What the values mean is for the schemas and the domain.
"""

from __future__ import annotations

import math
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from app.domain.bounded_json import json_faults, path_text, read_json
from app.domain.errors import BadRequest, FieldError, InvalidInput, NotJson, PodwireError

_WORDS = {"extra_forbidden": "is not a known field", "missing": "is required"}
Model = TypeVar("Model", bound=BaseModel)


class UnsupportedMediaType(PodwireError):
    """Send the body as application/json."""

    code, status = "unsupported_media_type", 415


def json_body(max_bytes: int | None = None) -> dict[str, object]:
    """Return the request's JSON object. Raises: BadRequest, UnsupportedMediaType, InvalidInput, RequestEntityTooLarge (413)."""
    if not request.is_json:
        raise UnsupportedMediaType()
    if max_bytes is not None:
        request.max_content_length = max_bytes
    data = request.get_data(cache=False)
    if request.content_length is None and len(data) >= (request.max_content_length or math.inf):
        # Without a Content-Length the stream just stops at the limit.
        raise RequestEntityTooLarge()
    return json_object(data)


def json_object(data: bytes | str) -> dict[str, object]:
    """Return the JSON object that the text is. Raises: BadRequest for what is not JSON, InvalidInput for what cannot be kept."""
    try:
        value = read_json(data)
    except NotJson as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise InvalidInput([FieldError("body", "must be a JSON object")])
    return value


def parse(model: type[Model], value: object) -> Model:
    """Return the value as the model. Raises: InvalidInput with every fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from error


def query(model: type[Model]) -> Model:
    """Return the request's query as the model; a list field takes every occurrence of its name. Raises: InvalidInput."""
    lists = {name for name, field in model.model_fields.items() if "list" in str(field.annotation)}
    given = {name: values if name in lists else values[-1] for name, values in request.args.lists()}
    if faults := list(json_faults(given)):
        raise InvalidInput(faults)
    return parse(model, given)


def header(name: str, max_length: int = 255) -> str | None:
    """Return a header's value of printable ASCII; None when it was not sent. Raises: InvalidInput."""
    value = request.headers.get(name)
    if value is not None and not (0 < len(value) <= max_length and value.isascii() and value.isprintable()):
        raise InvalidInput([FieldError(name, f"must be 1 to {max_length} printable ASCII characters")])
    return value


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return what a schema found, without the values that were sent."""
    return [FieldError(path_text(fault["loc"]), _sentence(fault["type"], fault["msg"])) for fault in error.errors()]


def _sentence(kind: str, message: str) -> str:
    return _WORDS.get(kind) or message.removeprefix("Value error, ")
