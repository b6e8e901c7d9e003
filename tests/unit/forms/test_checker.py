"""Checking values against forms' schemas: nothing is fetched, and what does not end is ended, with a typed reason."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.domain.errors import FormsBusy, FormTooCostly, FormUncheckable, InvalidInput, PodwireError
from app.forms.checker import FormChecker
from tests.servers import listening_site

ROOT = Path(__file__).resolve().parents[3]
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = descriptors(), children()
    yield
    assert (descriptors(), children()) == before


def nested(depth: int, keyword: str) -> dict[str, object]:
    """A schema that looks at itself twice on each level."""
    schema: dict[str, object] = {}
    for _ in range(depth):
        schema = {keyword: True, "anyOf": [schema]}
    return schema


@pytest.mark.trap("Q8")
def test_only_values_that_fit_pass_and_the_first_ten_faults_are_told() -> None:
    checker = FormChecker()
    checker.check(FORM, {"n": 1})
    for wrong in ({"n": "1"}, {}, {"n": 1, "m": 2}, [], "x", None):
        with pytest.raises(InvalidInput) as caught:
            checker.check(FORM, wrong, "default")
        assert [error.field for error in caught.value.errors] == ["default"]
    with pytest.raises(InvalidInput) as many:
        checker.check({"items": {"type": "string"}}, list(range(100)))
    assert many.value.detail.count("is not of type") == 10
    for odd in ("ä\0\udfff", "\U0001f600" * 400):
        with pytest.raises(InvalidInput):
            checker.check({"type": "integer"}, odd)
        with pytest.raises(InvalidInput):
            checker.check({"items": {"const": 1}}, [odd] * 20)


# What formerly came into the database, or would if the allowlist had a hole.
UNCHECKABLE = {
    "a dangling reference": {"$ref": "#/$defs/none"},
    "a reference to a file": {"$ref": "file:///dev/zero"},
    "a dynamic reference to a file": {"$dynamicRef": "file:///dev/zero"},
    "a dynamic reference to an address": {"$dynamicRef": "http://127.0.0.1:9/"},
    "an anchor that is none": {"$dynamicRef": "#x"},
    "no pattern": {"pattern": "("},
    "no schema": {"type": 7},
}
DOUBLED = {f"a{number + 1}": {"allOf": [{"$ref": f"#/$defs/a{number}"}] * 2} for number in range(40)}
COSTLY: dict[str, tuple[dict[str, object], object]] = {
    "unique objects": ({"uniqueItems": True}, [{"a": number} for number in range(3000)]),
    "each item many ways": ({"items": {"anyOf": [False] * 490 + [True]}}, [0] * 15_000),
    "unevaluated": (nested(24, "unevaluatedProperties"), {"a": 1}),
    "a pattern that backtracks": ({"pattern": "^(a+)+$"}, "a" * 40 + "b"),
    "a loop of references": ({"$ref": "#"}, 1),
    "references that double": ({"$defs": {"a0": True, **DOUBLED}, "$ref": "#/$defs/a40"}, 1),
}


@pytest.mark.parametrize("schema", UNCHECKABLE.values(), ids=UNCHECKABLE)
def test_what_the_library_cannot_do_is_one_typed_refusal(schema: dict[str, object]) -> None:
    with pytest.raises(FormUncheckable):
        FormChecker().check(schema, "x")


@pytest.mark.parametrize(("schema", "value"), COSTLY.values(), ids=COSTLY)
def test_what_costs_too_much_is_stopped_and_says_so(schema: dict[str, object], value: object) -> None:
    with pytest.raises(FormTooCostly):
        FormChecker().check(schema, value)


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef", "$schema", "$id"])
def test_nothing_is_fetched(keyword: str) -> None:
    with listening_site() as (url, asked), suppress(FormUncheckable):
        FormChecker().check({keyword: f"{url}/{keyword}"}, {})
    assert asked == []


def test_a_child_that_takes_too_much_memory_ends_itself() -> None:
    program = "from app.forms import child; child._limit(); x = 'x' * child.MAX_MEMORY_BYTES"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=False)
    assert ended.returncode == 1 and b"MemoryError" in ended.stderr


def test_a_child_that_does_not_end_is_stopped() -> None:
    with pytest.raises(FormTooCostly):
        FormChecker(wall_s=0.2, words=("sleep", "1000")).check(FORM, {})


def test_a_child_that_is_killed_by_somebody_is_a_typed_refusal() -> None:
    with pytest.raises(FormTooCostly):
        FormChecker(words=("sh", "-c", "kill -9 $$")).check(FORM, {})


@pytest.mark.parametrize("words", [("/nonexistent",), (sys.executable, "-c", "import none_of_that_name"), ("true",)])
def test_a_child_that_cannot_work_blames_nobody(words: tuple[str, ...]) -> None:
    with pytest.raises(FormsBusy):
        FormChecker(words=words).check(FORM, {})


def test_a_child_has_nothing_of_its_parent_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_SECRET_KEY", "tiger")
    with pytest.raises(InvalidInput) as told:
        FormChecker(words=(sys.executable, "-c", "import json, os; print(json.dumps(' '.join(os.environ)))")).check(FORM, {})
    assert "PYTHONPATH" in told.value.detail and "SECRET" not in told.value.detail


def test_a_few_are_checked_at_once_and_the_others_are_told_to_come_again() -> None:
    checker = FormChecker(places=1)
    with checker.place(0.0):
        with pytest.raises(FormsBusy) as busy:
            checker.check(FORM, {"n": 1}, wait_s=0.0)
        assert busy.value.retryable
    checker.check(FORM, {"n": 1}, wait_s=0.0)
    with suppress(PodwireError):
        FormChecker(places=1, words=("/nonexistent",)).check(FORM, {})
    with pytest.raises(InvalidInput):
        checker.check(FORM, {}, wait_s=0.0)


def test_others_of_a_gevent_process_go_on_meanwhile() -> None:
    program = """
from gevent import monkey; monkey.patch_all()
import threading
from app.domain.errors import FormTooCostly
from app.forms.checker import FormChecker
turns, done = [], threading.Event()
def turn():
    while not done.wait(0.01):
        turns.append(1)
other = threading.Thread(target=turn); other.start()
try:
    FormChecker().check({"uniqueItems": True}, [{"a": n} for n in range(3000)])
except FormTooCostly:
    done.set(); other.join(); print("stopped", len(turns) > 20)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=False, text=True)
    assert said.stdout == "stopped True\n", said.stderr
