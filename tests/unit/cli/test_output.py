"""What commands print: plain and unchanging in a pipe, with care on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from app.cli.terminal.harmless import harmless
from app.cli.terminal.output import print_json, print_table, progress, put
from app.cli.terminal.prompt import Prompt

EVIL = "[bold red]x[/] \x1b]0;owned\x07 \x9b31m \u202e :smile:"
HEAD = ("ID", "WHAT")


class Terminal(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


def terminals(monkeypatch: pytest.MonkeyPatch) -> tuple[Terminal, Terminal]:
    """Let stdout and stderr be terminals. Called by the test itself: a fixture's would be replaced before it begins."""
    stdout, stderr = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    return stdout, stderr


def test_a_pipe_gets_the_same_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEAD, [("r1", None), ("r22", EVIL)])
    print_json({"a": ["é", EVIL]})
    put(EVIL)
    told = capsys.readouterr().out
    assert told.startswith(f"ID   WHAT\nr1\nr22  {EVIL}\n" + '{\n  "a": [\n    "é",\n')
    assert told.endswith(f"\n{EVIL}\n")


def test_a_table_on_a_terminal_shows_every_text_as_it_is_and_obeys_none(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _err = terminals(monkeypatch)
    print_table(HEAD, [("r1", EVIL), ("r2", "é" * 100)])
    told = out.getvalue()
    assert "[bold red]x[/]" in told and ":smile:" in told and r"\u001b]0;owned\u0007 \u009b31m \u202e" in told
    assert told.count("é") == 100, "what is too wide is folded, not cut"
    assert not {char for char in told.replace("\x1b[1m", "").replace("\x1b[0m", "") if not char.isprintable()} - {"\n"}
    assert told.startswith("\x1b[1m")


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_ids_and_times_are_never_folded(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    out, _err = terminals(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    run, at = "r" + "a" * 19, "2026-12-01T04:14:57.000Z"
    print_table(("ID", "STATUS", "CREATED", "WHAT"), [(run, "running", at, "word " * 40)] * 3)
    told = out.getvalue()
    assert told.count(run) == told.count(at) == 3 and told.count("word") == 120


@pytest.mark.parametrize("term", ["dumb", "", None])
def test_a_terminal_that_can_do_nothing_gets_plain_text(term: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = terminals(monkeypatch)
    monkeypatch.delenv("TERM") if term is None else monkeypatch.setenv("TERM", term)
    print_table(HEAD, [("r1", EVIL)])
    assert out.getvalue() == f"ID  WHAT\nr1  {harmless(EVIL)}\n"
    with progress("file") as advance:
        advance(1)
    assert err.getvalue() == ""


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = terminals(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(HEAD, [("r1", "x")])
    with progress("file") as advance:
        advance(10)
    assert "\x1b[3" not in out.getvalue() + err.getvalue()


def test_a_download_is_shown_on_stderr_and_only_beside_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = terminals(monkeypatch)
    with progress(None) as advance:
        advance(10)
    assert err.getvalue() == ""
    with progress("file") as advance:
        advance(2048)
    assert "2.0" in err.getvalue() and out.getvalue() == ""


def test_json_and_lines_on_a_terminal_steer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _err = terminals(monkeypatch)
    print_json({"a": EVIL})
    put(f"name\t{EVIL}")
    told = out.getvalue()
    assert "\x1b" not in told and "\x9b" not in told and "\u202e" not in told
    assert "name\t[bold red]x[/]" in told


def test_a_question_steers_no_terminal() -> None:
    lines = Prompt.of({"id": "q", "text": "a\n\x1b[2J", "kind": "choice", "choices": ["\x07"], "default": "\x9b"}).lines()
    assert lines == "? a\n\\u001b[2J\n  1) \\u0007\n  (number or text, Enter = \\u009b) > "
