"""Questions from running code: their kinds, what may be asked, and which values are answers.

Who may answer is decided in the store's predicate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from app.domain.errors import FieldError, InvalidInput

MAX_TEXT_BYTES = 8 * 1024
MAX_VALUE_BYTES = 32 * 1024
MAX_CHOICES = 100
MAX_SCHEMA_BYTES = 16 * 1024


class QuestionKind(StrEnum):
    """What kind of value answers a question."""

    CHOICE = "choice"
    CONFIRM = "confirm"
    TEXT = "text"
    NUMBER = "number"
    SECRET = "secret"
    FORM = "form"


class QuestionState(StrEnum):
    """Where a question is: open, or one of the three ways in which it was settled."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the running code asked.

    `who` is `owner` (the run's owner and admins) or `anyone` (every signed-in person). `timeout_s` None = no deadline.
    """

    number: int
    text: str
    kind: QuestionKind = QuestionKind.TEXT
    choices: tuple[str, ...] = ()
    default: object = None
    schema: Mapping[str, object] | None = None
    timeout_s: float | None = None
    who: str = "owner"


@dataclass(frozen=True, slots=True)
class Question:
    """A stored question. `value` is what was accepted (None for a secret once it was delivered); times are the database's."""

    id: str
    run_id: str
    attempt: int
    asked: Asked
    state: QuestionState
    created_at: float
    expires_at: float | None = None
    value: object = None
    answered_by: str | None = None
    answered_at: float | None = None
    delivered_at: float | None = None


def parse_asked(raw: Mapping[str, object], max_timeout_s: float = 7 * 86400.0) -> Asked:
    """Read what the running code asked; it is as hostile as any input.

    Raises: InvalidInput naming every wrong field.
    """
    errors: list[FieldError] = []
    if not _is_unicode(raw):
        raise InvalidInput([FieldError("text", "must be valid Unicode")])
    text, number = raw.get("text"), raw.get("number")
    kind = _kind(raw, errors)
    choices = raw.get("choices") or []
    schema = raw.get("schema")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        errors.append(FieldError("number", "must be a whole number from 1"))
    if not isinstance(text, str) or not text.strip() or len(text.encode()) > MAX_TEXT_BYTES:
        errors.append(FieldError("text", f"must be text of 1 to {MAX_TEXT_BYTES} bytes"))
    if (
        not isinstance(choices, list)
        or len(choices) > MAX_CHOICES
        or not all(isinstance(c, str) and c and len(c) <= 500 for c in choices)
    ):
        errors.append(FieldError("choices", f"must be at most {MAX_CHOICES} texts of 1 to 500 characters"))
        choices = []
    if kind is QuestionKind.CHOICE and (not choices or len(set(choices)) != len(choices)):
        errors.append(FieldError("choices", "a choice needs at least one, each different"))
    errors += _check_schema(kind, schema)
    timeout = _timeout(raw, max_timeout_s, errors)
    who = raw.get("who") or "owner"
    if who not in ("owner", "anyone"):
        errors.append(FieldError("who", "must be owner or anyone"))
    if errors:
        raise InvalidInput(errors)
    asked = Asked(
        int(str(number)), str(text), kind, tuple(choices), None, schema if isinstance(schema, dict) else None, timeout, str(who)
    )
    default = raw.get("default")
    return asked if default is None else _with_default(asked, default)


def check_value(asked: Asked, value: object, field: str = "value") -> object:
    """Return the value in its canonical form when it answers the question.

    Raises: InvalidInput when it does not.
    """
    wrong = _fault(asked, value)
    if wrong:
        raise InvalidInput([FieldError(field, wrong)])
    if asked.kind is QuestionKind.NUMBER and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _fault(asked: Asked, value: object) -> str | None:
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError):
        return "must be a JSON value"
    if size > MAX_VALUE_BYTES:
        return f"is larger than {MAX_VALUE_BYTES} bytes"
    if asked.kind is QuestionKind.CHOICE and value not in asked.choices:
        return f"must be one of: {', '.join(asked.choices)}"
    if asked.kind is QuestionKind.CONFIRM and not isinstance(value, bool):
        return "must be true or false"
    if asked.kind in (QuestionKind.TEXT, QuestionKind.SECRET) and (not isinstance(value, str) or "\0" in value):
        return "must be text"
    if asked.kind is QuestionKind.NUMBER and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ):
        return "must be a number"
    if asked.kind is QuestionKind.FORM and asked.schema is not None:
        faults = sorted(Draft202012Validator(dict(asked.schema)).iter_errors(value), key=lambda e: e.json_path)
        return "; ".join(f"{f.json_path}: {f.message[:200]}" for f in faults[:10]) or None
    return None


def _is_unicode(value: object) -> bool:
    """Say whether every text in the value can be encoded; a lone surrogate cannot, though JSON lets it pass."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _kind(raw: Mapping[str, object], errors: list[FieldError]) -> QuestionKind:
    try:
        return QuestionKind(str(raw.get("kind") or "text"))
    except ValueError:
        errors.append(FieldError("kind", f"must be one of {', '.join(QuestionKind)}"))
        return QuestionKind.TEXT


def _check_schema(kind: QuestionKind, schema: object) -> list[FieldError]:
    if kind is not QuestionKind.FORM:
        return []
    if (
        not isinstance(schema, dict)
        or len(json.dumps(schema)) > MAX_SCHEMA_BYTES
        or "$ref" in json.dumps(schema)
        or '"pattern' in json.dumps(schema)
    ):
        # $ref could fetch or loop, and a hostile pattern could take for ever: forms need neither.
        return [
            FieldError(
                "schema", f"a form needs a JSON Schema object of at most {MAX_SCHEMA_BYTES} bytes without $ref and pattern"
            )
        ]
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [FieldError("schema", error.message[:200])]
    return []


def _timeout(raw: Mapping[str, object], max_timeout_s: float, errors: list[FieldError]) -> float | None:
    timeout = raw.get("timeout_s")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= max_timeout_s:
        errors.append(FieldError("timeout_s", f"must be more than 0 and at most {max_timeout_s:g} seconds"))
        return None
    return float(timeout)


def _with_default(asked: Asked, default: object) -> Asked:
    value = check_value(asked, default, "default")
    return Asked(asked.number, asked.text, asked.kind, asked.choices, value, asked.schema, asked.timeout_s, asked.who)
