"""Which schemas forms may have: an allowlist, bounded, whatever is put in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.domain.runs.form_schema import (
    DIALECT,
    KEYWORDS,
    MAX_ERRORS,
    MAX_SCHEMA_BYTES,
    MAX_SCHEMA_DEPTH,
    MAX_SCHEMA_NODES,
    schema_faults,
)
from tests.unit.domain.test_bounded_json import json_values

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/forms.md"
WHOLE: dict[str, object] = {
    "$schema": DIALECT,
    "$comment": "c",
    "title": "t",
    "description": "d",
    "default": [1],
    "examples": [1],
    "format": "date",
    "deprecated": False,
    "readOnly": False,
    "writeOnly": False,
    "type": ["object", "null"],
    "enum": [1, None],
    "const": 1,
    "properties": {"a": {"type": "string"}, "$ref": True},
    "required": ["a"],
    "additionalProperties": False,
    "minProperties": 0,
    "maxProperties": 2.0,
    "items": {"type": "integer"},
    "prefixItems": [True],
    "minItems": 0,
    "maxItems": 1,
    "uniqueItems": True,
    "minLength": 0,
    "maxLength": 9,
    "minimum": -1.5,
    "maximum": 9,
    "exclusiveMinimum": 0,
    "exclusiveMaximum": 9,
    "multipleOf": 0.5,
    "allOf": [{}],
    "anyOf": [{}],
    "oneOf": [{}],
}


def nested(depth: int, keyword: str = "items") -> dict[str, object]:
    schema: dict[str, object] = {}
    for _ in range(depth - 1):
        schema = {keyword: schema}
    return schema


def fields_of(schema: object) -> list[str]:
    return [fault.field for fault in schema_faults(schema)]


def test_every_keyword_of_the_list_is_taken_and_is_what_the_library_takes() -> None:
    assert set(WHOLE) == set(KEYWORDS)
    assert schema_faults(WHOLE) == []
    Draft202012Validator.check_schema(WHOLE)
    for keyword in set(KEYWORDS) - {"default", "const"}:
        assert fields_of({"properties": {"a": {keyword: {"$ref": 1}}}})[0].startswith(f"schema.properties.a.{keyword}")


def test_the_document_has_the_list() -> None:
    tables = re.findall(r"^\|.*\| (`.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert set(re.findall(r"`([$\w]+)`", " ".join(tables))) == set(KEYWORDS)
    for limit in (f"{MAX_SCHEMA_BYTES // 1024} KiB", f"{MAX_SCHEMA_NODES} schemas", f"{MAX_SCHEMA_DEPTH} deep"):
        assert limit in DOCUMENT.read_text()


@pytest.mark.parametrize(
    "keyword",
    [
        *("$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "$defs", "definitions", "pattern", "patternProperties"),
        *("not", "if", "contains", "propertyNames", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "tipe"),
    ],
)
@pytest.mark.parametrize("at", ["schema", "schema.properties.a", "schema.items.anyOf[1]"])
def test_any_other_keyword_is_refused_by_its_name_and_path(keyword: str, at: str) -> None:
    rule: object = {keyword: "http://127.0.0.1:9/"}
    where = {
        "schema": rule,
        "schema.properties.a": {"properties": {"a": rule}},
        "schema.items.anyOf[1]": {"items": {"anyOf": [{}, rule]}},
    }
    (fault,) = schema_faults(where[at])
    assert (fault.field, fault.message) == (f"{at}.{keyword}", f"{keyword} is not a keyword that forms may use")


BOMBS = {
    "no object": [],
    "deep": nested(5_000),
    "a schema too deep": nested(MAX_SCHEMA_DEPTH + 1),
    "a schema too deep by anyOf": {"anyOf": [nested(MAX_SCHEMA_DEPTH)]},
    "too many": {"items": {"allOf": [False] * 2000}},
    "one too many": {"allOf": [True] * MAX_SCHEMA_NODES},
    "too large": {"title": "x" * MAX_SCHEMA_BYTES},
    "too large when encoded": {"title": "é" * (MAX_SCHEMA_BYTES // 6)},
    "a huge number": {"minimum": 10**400},
    "a huge count": {"minItems": 2**63},
    "no number": {"maximum": float("nan")},
    "zero as a step": {"multipleOf": 0},
    "an empty choice of schemas": {"anyOf": []},
    "a schema that is none": {"items": 1},
    "required twice": {"required": ["a", "a"]},
    "required unhashable": {"required": [[]]},
    "an unhashable type": {"type": [{}]},
    "an unhashable dialect": {"$schema": {}},
    "another dialect": {"$schema": "http://json-schema.org/draft-04/schema#"},
    "nested unevaluated": {"unevaluatedProperties": nested(60, "unevaluatedProperties")},
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused(bomb: object) -> None:
    assert 0 < len(schema_faults(bomb)) <= MAX_ERRORS


def test_the_limits_are_where_they_are_said_to_be() -> None:
    assert schema_faults(nested(MAX_SCHEMA_DEPTH)) == []
    assert schema_faults({"allOf": [True] * (MAX_SCHEMA_NODES - 1)}) == []
    rest = len('{"title": ""}')
    assert schema_faults({"title": "x" * (MAX_SCHEMA_BYTES - rest)}) == []
    assert schema_faults({"title": "x" * (MAX_SCHEMA_BYTES - rest + 1)}) != []


@given(json_values | st.dictionaries(st.sampled_from(sorted(KEYWORDS)), json_values))
def test_whatever_is_no_schema_of_the_library_is_none_of_ours(schema: object) -> None:
    if not schema_faults(schema):
        Draft202012Validator.check_schema(schema)  # type: ignore[arg-type]
