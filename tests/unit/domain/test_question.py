"""Questions: what may be asked, and which values answer."""

from __future__ import annotations

import pytest

from app.domain.errors import InvalidInput
from app.domain.runs.question import check_value, parse_asked

GOOD: dict[str, object] = {"number": 1, "text": "Deploy?", "kind": "choice", "choices": ["yes", "no"]}
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def fields_of(raw: dict[str, object]) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_asked(raw)
    return {error.field for error in caught.value.errors}


def test_all_faults_are_named_at_once() -> None:
    raw = {"number": 0, "text": " ", "kind": "riddle", "choices": [1], "timeout_s": -1, "who": "everybody"}
    assert fields_of(raw) == {"number", "text", "kind", "choices", "timeout_s", "who"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"choices": []}, "choices"),
        ({"choices": ["a", "a"]}, "choices"),
        ({"default": "maybe"}, "default"),
        ({"timeout_s": True}, "timeout_s"),
        ({"kind": "form"}, "schema"),
        ({"kind": "form", "schema": {"$ref": "http://example.org"}}, "schema.$ref"),
        ({"kind": "form", "schema": {"type": 7}}, "schema.type"),
        ({"text": "x" * 9000}, "text"),
        ({"text": "\udfff"}, "text"),
        ({"default": 10**400, "kind": "number"}, "default"),
        ({"number": 2**31}, "number"),
    ],
)
def test_a_fault_names_its_field(change: dict[str, object], field: str) -> None:
    assert field in fields_of(GOOD | change)


@pytest.mark.trap("Q8")
@pytest.mark.parametrize(
    ("kind", "extra", "good", "bad"),
    [
        ("choice", {"choices": ["a", "b"]}, ["a", "b"], ["c", 1, None, ["a"], "<script>"]),
        ("confirm", {}, [True, False], ["yes", 1, 0, None]),
        ("text", {}, ["", "x", "ä\n"], [1, None, "a\0b", "x" * 40_000, "\ud800"]),
        ("number", {}, [1, -2.5, 0], ["1", True, 10**400, -(2**63) - 1, float("nan"), float("inf"), None]),
        ("secret", {}, ["s3cret"], [None, 7]),
        # Whether it fits the schema is found out elsewhere, in a process of its own.
        ("form", {"schema": FORM}, [{"n": 1}, {"n": "1"}], ["x" * 40_000, float("nan"), [10**400], {"a": "\ud800"}]),
    ],
)
def test_only_values_of_the_kind_answer(kind: str, extra: dict[str, object], good: list[object], bad: list[object]) -> None:
    asked = parse_asked({"number": 1, "text": "?", "kind": kind, **extra})
    for value in good:
        assert check_value(asked, value) == value
    for value in bad:
        with pytest.raises(InvalidInput, match="value"):
            check_value(asked, value)
