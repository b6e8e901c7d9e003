"""What an observer of the broker is told of a run: who, how urgent, which image. Names are text, whatever they look like."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.runs.images import ImageRules
from app.domain.runs.run import Priority
from app.domain.runs.spec import RunSpec
from app.service.queue.dispatch import SHOWN, shown
from tests.unit.supervise.doubles import make_run

RULES = ImageRules({"python": "python:3.12"}, "debian:12", ("*",))
SECRET = RunSpec(script="print(1)", language="python", env={"TOKEN": "hidden"}, labels={"team": "hidden"})


@pytest.mark.parametrize(
    ("spec", "rules", "image"),
    [
        (replace(SECRET, image="alpine:3"), RULES, "alpine:3"),
        (SECRET, RULES, "python:3.12"),
        (RunSpec(command=("true",)), RULES, "debian:12"),
        (SECRET, None, "python"),
        (RunSpec(command=("true",)), None, "command"),
    ],
)
def test_the_image_is_the_one_that_will_be_used(spec: RunSpec, rules: ImageRules | None, image: str) -> None:
    described = ast.literal_eval(shown(make_run(spec=spec, priority=Priority.HIGH), rules))
    assert described == {"owner": "ann", "priority": "high", "image": image}


@given(st.text(), st.text(min_size=1))
def test_names_can_neither_pass_for_other_fields_nor_confuse_a_page(owner: str, image: str) -> None:
    text = shown(make_run(owner_name=owner, spec=replace(SECRET, image=image)), RULES)
    assert ast.literal_eval(text) == {"owner": owner[:SHOWN], "priority": "normal", "image": image[:SHOWN]}
    assert text.isprintable()
