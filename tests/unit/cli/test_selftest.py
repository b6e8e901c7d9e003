"""What `podwire selftest` submits, by what the service says that runs may have."""

from __future__ import annotations

import pytest

from app.cli.commands.selftest import trial_body
from app.cli.errors import Stop

LANGUAGES = ["bash", "node", "python"]


def limits(default: str | None = None, **by_language: str) -> dict[str, object]:
    return {"languages": LANGUAGES, "images": {"allowed": [], "by_language": by_language, "default": default}}


def test_where_runs_have_no_image_any_language_will_do() -> None:
    assert trial_body({"languages": LANGUAGES, "images": None})["language"] == "python"
    assert trial_body({"languages": ["bash"], "images": None})["language"] == "bash"


def test_a_language_with_an_image_is_taken() -> None:
    assert trial_body(limits(python="python:3", bash="debian"))["language"] == "python"
    assert trial_body(limits(bash="debian", default="other"))["language"] == "bash"


def test_the_default_image_needs_nothing_of_its_own() -> None:
    body = trial_body(limits(default="some/image", node="node:22"))
    assert "language" not in body and body["command"][0] == "/podwire/busybox"  # type: ignore[index]


def test_without_an_image_it_says_what_to_set() -> None:
    with pytest.raises(Stop, match=r"runs\.images"):
        trial_body(limits(node="node:22"))
