"""Answers as HTML forms: which inputs a JSON Schema asks for, and the value that a sent form means.

Simple objects get an input per property, any other schema gets one field for JSON. Whether a value is an answer: the domain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.bounded_json import read_json
from app.domain.errors import NotJson
from app.domain.runs.question import Asked, QuestionKind

PREFIX = "field."
MAX_FIELDS = 30


@dataclass(frozen=True, slots=True)
class Field:
    """One input: `kind` is text, number, integer, boolean or choice; `default` is what is filled in."""

    name: str
    label: str
    kind: str
    required: bool = False
    help: str = ""
    choices: tuple[str, ...] = ()
    default: object = None


def fields(asked: Asked) -> list[Field] | None:
    """Return the inputs that a form needs; None when its schema is not that simple."""
    schema = asked.schema or {}
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict) or not 0 < len(properties) <= MAX_FIELDS:
        return None
    required = schema.get("required")
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    given = asked.default if isinstance(asked.default, dict) else {}
    found = [_field(name, rule, name in needed, given.get(name)) for name, rule in properties.items()]
    return None if None in found else [field for field in found if field]


def answer_value(asked: Asked, form: Mapping[str, str]) -> object:
    """Return the value that the sent form means. What cannot be read is passed on as text, for the domain to refuse."""
    text = form.get("value", "").replace("\r\n", "\n")
    if asked.kind is QuestionKind.CONFIRM:
        return {"true": True, "false": False}.get(text, text)
    if asked.kind is QuestionKind.NUMBER:
        return _number(text)
    if asked.kind is QuestionKind.FORM:
        return _object(asked, form, text)
    return text


def _field(name: object, rule: object, required: bool, given: object) -> Field | None:
    if not isinstance(name, str) or not isinstance(rule, dict):
        return None
    label, help_text = str(rule.get("title") or name), str(rule.get("description") or "")
    default = rule.get("default") if given is None else given
    choices = rule.get("enum")
    if isinstance(choices, list):
        return Field(name, label, "choice", required, help_text, tuple(_shown(choice) for choice in choices), default)
    kind = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean"}.get(str(rule.get("type")))
    return Field(name, label, kind, required, help_text, (), default) if kind else None


def _object(asked: Asked, form: Mapping[str, str], text: str) -> object:
    simple = fields(asked)
    if simple is None:
        try:
            return read_json(text)
        except NotJson:
            return text
    read = {field.name: _read(asked, field, form.get(PREFIX + field.name)) for field in simple}
    return {name: value for name, value in read.items() if value is not None}


def _read(asked: Asked, field: Field, text: str | None) -> object:
    if field.kind == "boolean":
        return text is not None
    if text is None or (text == "" and not (field.required and field.kind == "text")):
        return None
    if field.kind in ("number", "integer"):
        return _number(text)
    if field.kind == "choice":
        choices = (asked.schema or {})["properties"][field.name]["enum"]  # type: ignore[index]
        return next((choice for choice in choices if _shown(choice) == text), text)
    return text.replace("\r\n", "\n")


def _number(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _shown(choice: object) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice, ensure_ascii=False)
