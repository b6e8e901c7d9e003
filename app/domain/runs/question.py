"""Questions from running code: their kinds, what may be asked, and which values are answers.

Who may answer is decided in the store's predicate. Whether a form's value fits its schema is work without a bound that anybody
could foresee, so it is not done here: app/forms does it in a process that can be stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.domain.bounded_json import is_finite, json_faults
from app.domain.errors import FieldError, InvalidInput
from app.domain.runs.form_schema import schema_faults

MAX_TEXT_BYTES = 8 * 1024
MAX_VALUE_BYTES = 32 * 1024
MAX_CHOICES = 100
MAX_NUMBER = 2**31 - 1
MAX_FAULTS = 10


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
    """Read what the running code asked; it is as hostile as any input. Whether a form's default fits is not looked at.

    Raises: InvalidInput naming every wrong field.
    """
    errors = list(json_faults(dict(raw), nul=True))[:MAX_FAULTS]
    if errors:
        raise InvalidInput(errors)
    text, number = raw.get("text"), raw.get("number")
    kind = _kind(raw, errors)
    choices = raw.get("choices") or []
    schema = raw.get("schema")
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_NUMBER:
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
    errors += schema_faults(schema) if kind is QuestionKind.FORM else []
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
    """Return the value in its canonical form when it answers the question; of a form, when it may be checked further.

    Raises: InvalidInput when it does not.
    """
    wrong = _fault(asked, value)
    if wrong:
        raise InvalidInput([FieldError(field, wrong)])
    if asked.kind is QuestionKind.NUMBER and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _fault(asked: Asked, value: object) -> str | None:
    for fault in json_faults(value, nul=True):
        return fault.message if fault.field == "body" else f"{fault.field}: {fault.message}"
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
        isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value)
    ):
        return "must be a number"
    return None


def _kind(raw: Mapping[str, object], errors: list[FieldError]) -> QuestionKind:
    try:
        return QuestionKind(str(raw.get("kind") or "text"))
    except ValueError:
        errors.append(FieldError("kind", f"must be one of {', '.join(QuestionKind)}"))
        return QuestionKind.TEXT


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
