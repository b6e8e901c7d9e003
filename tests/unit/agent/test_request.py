"""Both forms of a request mean the same, and whatever else lies there is refused with a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.questions.request import MAX_REQUEST_BYTES, Refused, parse, question, reply

LINES = b"""text
 Where to,
 and when?
choice
 staging
choice
 production
default
 staging
timeout_s
 15m
who
 anyone
"""


def test_lines_and_json_mean_the_same():
    body = {"text": "Where to,\nand when?", "kind": "choice", "choices": ["staging", "production"]}
    body |= {"default": "staging", "timeout_s": 900.0, "who": "anyone"}
    assert parse(LINES).body == parse(json.dumps(body).encode()).body == body


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [("number", "4.5", 4.5), ("confirm", "no", False), ("form", '{"a": 1}', {"a": 1}), ("text", "7", "7")],
)
def test_a_default_in_lines_gets_its_type_from_the_kind(kind, default, expected):
    request = parse(f"text\n Q\nkind\n {kind}\ndefault\n {default}\n".encode())
    assert request.body["default"] == expected


@pytest.mark.parametrize(
    "hostile",
    [
        b"{" * 50_000,
        b'{"a":' * 10_000,
        b"{}" + b" " * MAX_REQUEST_BYTES,
        b'{"text": NaN}',
        b'{"default": 1e999}',
        b'{"text": "\\ud800"}',
        b"text\n Q\ntimeout_s\n soon\n",
        b"text\n Q\nkind\n confirm\ndefault\n maybe\n",
        b"text\n Q\nkind\n form\nschema\n {\n",
    ],
)
def test_hostile_requests_are_refused(hostile):
    with pytest.raises(Refused):
        parse(hostile)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused(data):
    try:
        request = parse(data)
    except Refused:
        return
    assert json.loads(question(1, request.body))["number"] == 1


def test_what_the_program_puts_in_cannot_pose_as_a_number():
    asked = json.loads(question(3, parse(b'{"text": "Q", "number": 1, "id": "x"}').body))
    assert asked["number"] == 3
    assert "id" not in asked


@pytest.mark.parametrize(
    ("state", "value", "default", "expected"),
    [
        ("answered", "two\nlines", None, b"answered value\ntwo\nlines\n"),
        ("answered", True, None, b"answered value\nyes\n"),
        ("answered", 7, None, b"answered value\n7\n"),
        ("answered", {"a": 1}, None, b'answered value\n{"a": 1}\n'),
        ("expired", None, False, b"expired value\nno\n"),
        ("expired", None, None, b"expired none\nThe question was expired.\n"),
        ("closed", None, "x", b"closed none\nThe question was closed.\n"),
    ],
)
def test_the_reply_for_a_shell(state, value, default, expected):
    assert reply(True, state, value, default, None) == expected
