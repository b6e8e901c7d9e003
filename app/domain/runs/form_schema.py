"""Which JSON Schemas a form may have: a subset of draft 2020-12 that pages can show and that can be checked in bounded work.

An allowlist, so that what a library learns later is refused until somebody has looked at it. Nothing in it refers to anything
(`$ref`, `$dynamicRef`, `$id`), searches text by a pattern, or asks what other keywords saw (`unevaluated…`).
docs/forms.md tells people.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from app.domain.bounded_json import MAX_INTEGER, is_finite, json_faults, shown
from app.domain.errors import FieldError

MAX_SCHEMA_BYTES = 16 * 1024
MAX_SCHEMA_DEPTH = 12
MAX_SCHEMA_NODES = 500
MAX_ERRORS = 10
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def schema_faults(schema: object) -> list[FieldError]:
    """Return what is wrong with a form's schema, at most ten faults, each with its path. Never raises; linear in its size."""
    if not isinstance(schema, dict):
        return [FieldError("schema", "a form needs a JSON Schema object")]
    # Before anything walks it by recursion, as the encoder does.
    for fault in json_faults(schema, "schema", nul=True):
        return [fault]
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        return [FieldError("schema", f"must be at most {MAX_SCHEMA_BYTES} bytes as JSON")]
    found = []
    for fault in _faults(schema):
        found.append(fault)
        if len(found) >= MAX_ERRORS:
            break
    return found


def _faults(schema: object) -> Iterator[FieldError]:
    stack: list[tuple[str, object, int]] = [("schema", schema, 1)]
    nodes = 0
    while stack:
        path, rule, depth = stack.pop()
        nodes += 1
        if nodes > MAX_SCHEMA_NODES:
            yield FieldError("schema", f"has more than {MAX_SCHEMA_NODES} schemas in it")
            return
        if depth > MAX_SCHEMA_DEPTH:
            yield FieldError(path, f"is nested more than {MAX_SCHEMA_DEPTH} schemas deep")
        elif isinstance(rule, dict):
            yield from _keyword_faults(path, rule)
            stack += [(inner_path, inner, depth + 1) for inner_path, inner in _inner(path, rule)]
        elif not isinstance(rule, bool):
            yield FieldError(path, "must be a schema: an object, true or false")


def _keyword_faults(path: str, rule: Mapping[str, object]) -> Iterator[FieldError]:
    for keyword, value in rule.items():
        expected = KEYWORDS.get(keyword)
        at = f"{path}.{shown(keyword)}"
        if expected is None:
            yield FieldError(at, f"{shown(keyword)} is not a keyword that forms may use")
        elif not expected[1](value):
            yield FieldError(at, f"must be {expected[0]}")


def _inner(path: str, rule: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for keyword, value in rule.items():
        at = f"{path}.{shown(keyword)}"
        if keyword in ("items", "additionalProperties"):
            yield at, value
        elif keyword in ("prefixItems", "anyOf", "allOf", "oneOf") and isinstance(value, list):
            yield from ((f"{at}[{number}]", inner) for number, inner in enumerate(value))
        elif keyword == "properties" and isinstance(value, dict):
            yield from ((f"{at}.{shown(name)}", inner) for name, inner in value.items())


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and _is_number(value) and 0 <= value <= MAX_INTEGER and float(value).is_integer()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)


def _is_step(value: object) -> bool:
    return isinstance(value, int | float) and _is_number(value) and value > 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_schemas(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


def _is_type(value: object) -> bool:
    if isinstance(value, list):
        return _are_names(value) and len(value) > 0 and all(name in TYPES for name in value)
    return isinstance(value, str) and value in TYPES


def _anything(value: object) -> bool:
    return True


_COUNT, _NUMBER = ("a whole number from 0", _is_count), ("a number", _is_number)
_TEXT, _BOOL, _ANY = ("text", _is_text), ("true or false", _is_bool), ("a value", _anything)
_SCHEMAS = ("a list of schemas that is not empty", _is_schemas)

# Every keyword that a form may use: what its value must be, in words and as a question.
KEYWORDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "$schema": (DIALECT, lambda value: value in (DIALECT, DIALECT + "#")),
    "$comment": _TEXT,
    "title": _TEXT,
    "description": _TEXT,
    "default": _ANY,
    "examples": ("a list", _is_list),
    "format": _TEXT,
    "deprecated": _BOOL,
    "readOnly": _BOOL,
    "writeOnly": _BOOL,
    "type": (f"one of {', '.join(sorted(TYPES))}, or a list of them", _is_type),
    "enum": ("a list", _is_list),
    "const": _ANY,
    "properties": ("an object of schemas", lambda value: isinstance(value, dict)),
    "required": ("a list of different names", _are_names),
    "additionalProperties": _ANY,
    "minProperties": _COUNT,
    "maxProperties": _COUNT,
    "items": _ANY,
    "prefixItems": _SCHEMAS,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": _BOOL,
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "multipleOf": ("a number above 0", _is_step),
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "oneOf": _SCHEMAS,
}
