"""JSON lines: one object a line, with the run that it is about."""

from __future__ import annotations

import ast
import json
import logging
import sys

import pytest

from app.domain.log_context import about
from config.logging import JsonLines
from tests.integration.cluster import ROOT

RUN, OTHER = "r" + "a" * 19, "r" + "b" * 19


def line(message: object, *args: object, **extra: object) -> dict[str, str]:
    record = logging.LogRecord("app.test", logging.INFO, __file__, 1, message, args or None, None)
    record.__dict__.update(extra)
    text = JsonLines().format(record)
    assert "\n" not in text
    found: dict[str, str] = json.loads(text)
    return found


def test_a_line_says_which_run_it_names_or_else_which_its_thread_works_for() -> None:
    assert line("run %s: it ended", RUN)["run_id"] == RUN
    assert "run_id" not in line("the queue is empty")
    with about(OTHER):
        assert line("run %s: it ended", RUN)["run_id"] == RUN
        assert line("a library says\n%s", "something")["run_id"] == OTHER
        with about(RUN):
            assert line("deeper")["run_id"] == RUN
        assert line("back")["run_id"] == OTHER
    assert "run_id" not in line("run %s: nudge %s was not sent", "*", "resync")


def test_a_line_of_celery_says_which_run_its_task_has() -> None:
    assert line("Task received", data={"args": f"('{RUN}',)"})["run_id"] == RUN
    assert "run_id" not in line("Task received", data={"args": "()"})


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord("app.test", logging.ERROR, __file__, 1, "it failed", None, sys.exc_info())
    assert "second" in json.loads(JsonLines().format(record))["traceback"]


def _formats() -> list[tuple[str, str]]:
    found = []
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if getattr(node.func.value, "id", "") == "logger" and isinstance(first, ast.Constant):
                    found.append((f"{path.name}:{node.lineno}", str(first.value)))
    return found


@pytest.mark.trap("M3")
def test_whatever_we_log_of_a_run_begins_with_it() -> None:
    formats = _formats()
    assert len(formats) > 40
    assert [where for where, text in formats if "run %s" in text and not text.startswith("run %s")] == []
