"""Which image a run gets, and what is said of one that it may not have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.runs.images import ImageRules, full_name
from app.domain.runs.spec import RunSpec, SpecLimits, check_spec

RULES = ImageRules({"python": "python:3.12", "bash": ""}, "", ("mine/*", "r.example/tool:?"))
LIMITS = SpecLimits({"python": ("python3",), "bash": ("bash",)}, images=RULES)


def faults(limits: SpecLimits = LIMITS, **spec: object) -> list[tuple[str, str]]:
    return [(fault.field, fault.message) for fault in check_spec(RunSpec(**spec), limits)]  # type: ignore[arg-type]


@pytest.mark.parametrize("image", ["mine/tool:1", "docker.io/mine/tool", "r.example/tool:1", "docker.io/library/python:3.12"])
def test_what_a_pattern_names_or_the_configuration_uses_is_allowed(image: str) -> None:
    assert faults(command=("true",), image=image) == []
    assert RULES.choose(image, None) == image


@pytest.mark.parametrize("image", ["other/tool", "r.example/tool:12", "r.example/mine/tool", "python:3.13", "mine"])
def test_what_nothing_names_is_refused_with_what_may_be_named(image: str) -> None:
    ((field, message),) = faults(command=("true",), image=image)
    assert field == "image"
    assert message == f"{image!r} is not among those that may be used here: python:3.12, mine/*, r.example/tool:?"


def test_a_run_without_an_image_needs_one_that_is_configured() -> None:
    assert faults(script="1", language="python") == []
    assert faults(script="1", language="bash") == [("image", "is needed: there is none for the language 'bash' by default")]
    assert faults(command=("true",)) == [("image", "is needed: there is none for commands by default")]
    whole = replace(LIMITS, images=replace(RULES, default="debian:12"))
    assert faults(whole, script="1", language="bash") == faults(whole, command=("true",)) == []
    assert [RULES.choose(None, "python"), RULES.choose(None, "bash")] == ["python:3.12", ""]


def test_what_to_run_is_asked_for_before_its_image() -> None:
    assert [field for field, _ in faults(script="1", language="cobol")] == ["language"]
    assert [field for field, _ in faults()] == ["script"]


def test_where_runs_have_no_image_none_is_refused() -> None:
    assert faults(replace(LIMITS, images=None), command=("true",), image="anything") == []


def test_short_names_are_those_of_docker_hub() -> None:
    assert full_name("python") == "docker.io/library/python"
    assert full_name("me/python") == "docker.io/me/python"
    assert full_name("localhost/python") == "localhost/python"
    assert full_name("r.example:5000/python") == "r.example:5000/python"
