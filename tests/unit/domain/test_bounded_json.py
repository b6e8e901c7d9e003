"""The one reader of strangers' JSON: whatever the text is, a value that can be kept comes out, or one of two typed refusals."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.commands.run import amount
from app.cli.terminal.prompt import Prompt
from app.domain.bounded_json import MAX_DEPTH, MAX_INTEGER, MAX_VALUES, is_finite, json_faults, read_json
from app.domain.errors import BadRequest, InvalidInput, NotJson
from app.domain.runs.events import Position
from app.domain.runs.question import Asked, QuestionKind, check_value, parse_asked
from app.domain.runs.usage import decode
from app.web.api.shapes import sequence_of
from app.web.pages.schema_form import answer_value
from app.web.quantities import cores, duration_s, size_bytes

BOMBS = {
    "nothing": b"",
    "deep lists": b"[" * 100_000,
    "deep lists that end": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a little too deep": b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
    "as deep as the parser goes": b"[" * 900 + b"]" * 900,
    "401 digits": b"1" + b"0" * 400,
    "5,000 digits": b"1" * 5000,
    "beyond 64 bits": str(MAX_INTEGER + 1).encode(),
    "beyond a double": b"1e400",
    "NaN": b"NaN",
    "-Infinity": b"[-Infinity]",
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate as a name": b'{"\\ud800": 1}',
    "a NUL": b'{"a": "\\u0000"}',
    "not UTF-8": b'"\xff"',
    "many values": b"[" + b"0," * MAX_VALUES + b"0]",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_with_a_type_at_every_door(bomb: bytes) -> None:
    with pytest.raises((NotJson, InvalidInput)):
        read_json(bomb)
    text = bomb.decode(errors="replace").replace("\ufffd", '"')
    form = Asked(1, "?", QuestionKind.FORM, schema={})
    with suppress(InvalidInput):
        # The page passes on as text what it cannot read; that may fit a form which takes anything.
        check_value(form, answer_value(form, {"value": text}))
    number = Asked(1, "?", QuestionKind.NUMBER)
    with pytest.raises(InvalidInput):
        check_value(number, answer_value(number, {"value": text}))
    with pytest.raises(ValueError, match="Type the answer as JSON"):
        Prompt("q", "?", QuestionKind.FORM).value(text)
    assert decode(bomb) is None


def test_what_is_within_the_bounds_is_read() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert json.dumps(read_json(deepest)).encode() == deepest
    assert read_json(str(MAX_INTEGER)) == MAX_INTEGER and read_json("-1e308") == -1e308
    assert read_json('"\\u0000"', nul=True) == "\0"
    assert read_json(b"[1]", max_bytes=3) == [1]
    with pytest.raises(NotJson, match="larger than 2"):
        read_json(b"[1]", max_bytes=2)


@given(st.binary() | st.text().map(str.encode) | json_values.map(json.dumps).map(str.encode))
def test_nothing_but_its_own_refusals_leaves_the_reader(data: bytes) -> None:
    with suppress(NotJson, InvalidInput):
        json.dumps(read_json(data), allow_nan=False, ensure_ascii=False).encode()


@given(json_values)
def test_nothing_but_a_refusal_leaves_the_parser_of_questions(value: object) -> None:
    for kind in QuestionKind:
        raw = {"number": 1, "text": "?", "kind": kind.value, "choices": ["a"], "schema": {}, "default": value}
        with suppress(InvalidInput):
            parse_asked(raw)
    for name in ("number", "text", "kind", "choices", "schema", "timeout_s", "who"):
        with suppress(InvalidInput):
            parse_asked({"number": 1, "text": "?", "kind": "form", "schema": {}, name: value})


@given(
    st.text()
    | st.from_regex(r"[-+]?[0-9]{0,400}([.][0-9]{0,9})?(e[0-9]{1,5})?[kMGTi]{0,2}[smhd]{0,2}", fullmatch=True)
    | json_values
)
def test_units_positions_and_cursors_are_read_or_refused(value: object) -> None:
    for read in (size_bytes, cores, duration_s):
        with suppress(ValueError):
            assert is_finite(read(value))
    text = str(value)
    amount(text)
    with suppress(BadRequest):
        Position.parse(text)
    with suppress(BadRequest):
        sequence_of(text)
    for kind in QuestionKind:
        with suppress(ValueError):
            Prompt("q", "?", kind, ("a",)).value(text)


@given(st.integers() | st.floats() | st.integers(min_value=-(10**400), max_value=10**400))
def test_a_number_that_is_finite_is_a_double(number: float) -> None:
    assert is_finite(number) == (abs(number) <= MAX_INTEGER if isinstance(number, int) else math.isfinite(number))
    assert not is_finite(number) or math.isfinite(float(number))


def test_what_cannot_be_kept_is_named_by_its_path() -> None:
    faults = list(json_faults({"a": [1, {"b": 10**400}]}, "default"))
    assert [(fault.field, fault.message) for fault in faults] == [("default.a[1].b", "is too large a number")]
