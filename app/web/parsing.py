"""Reads what a request carries: JSON bodies, queries, headers. Every fault is named at once; none is ever an error of ours.

What the values mean is for the schemas and the domain.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from app.domain.errors import BadRequest, FieldError, InvalidInput, PodwireError

MAX_DEPTH = 64
MAX_VALUES = 100_000
MAX_INTEGER = 2**63 - 1
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
        value = json.loads(data.decode() if isinstance(data, bytes) else data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError, JSONDecodeError and numbers of thousands of digits are all ValueErrors.
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise InvalidInput([FieldError("body", "must be a JSON object")])
    if faults := list(_faults(value)):
        raise InvalidInput(faults[:100])
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
    if faults := list(_faults(given)):
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
    return [FieldError(_path(fault["loc"]), _sentence(fault["type"], fault["msg"])) for fault in error.errors()]


def _sentence(kind: str, message: str) -> str:
    return _WORDS.get(kind) or message.removeprefix("Value error, ")


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else ("." if path else "") + shown(part)
    return path or "body"


def shown(text: str) -> str:
    """Return a name that came from outside in a form that is safe in every answer and log."""
    return text[:100].encode("unicode_escape").decode("ascii")


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _faults(value: object) -> Iterator[FieldError]:
    # A stack, since the depth is the sender's choice. What passes can be encoded and stored by everything behind this.
    stack: list[tuple[tuple[int | str, ...], object]] = [((), value)]
    seen = 0
    while stack:
        path, item = stack.pop()
        seen += 1
        if len(path) > MAX_DEPTH or seen > MAX_VALUES:
            yield FieldError(_path(path[:3]), "is nested too deeply or has too many values")
            return
        if isinstance(item, dict):
            stack += [((*path, key), inner) for key, inner in item.items()]
            yield from (FieldError(_path((*path, key)), fault) for key in item if (fault := _fault(key)))
        elif isinstance(item, list):
            stack += [((*path, number), inner) for number, inner in enumerate(item)]
        elif fault := _fault(item):
            yield FieldError(_path(path), fault)


def _fault(item: object) -> str | None:
    if isinstance(item, str):
        return _text_fault(item)
    if isinstance(item, float) and not math.isfinite(item):
        return "is not a finite number"
    if isinstance(item, int) and abs(item) > MAX_INTEGER:
        return "is too large a number"
    return None


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "must not contain a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must not contain a lone surrogate"
    return None
