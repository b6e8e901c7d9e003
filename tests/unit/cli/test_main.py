"""The command as a whole: what is loaded when, which exit code an end has, and what shells are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from app.cli import main as module
from app.cli.commands import cancel
from app.cli.errors import Stop, Unreachable
from app.cli.main import COMMANDS, main, podwire

ROOT = Path(__file__).resolve().parents[3]
# fmt: off
HEAVY = (
    "sqlalchemy", "flask", "redis", "rich", "celery", "kubernetes", "pydantic", "jsonschema",
    "urllib.request", "websocket", "importlib.metadata",
)
# fmt: on


def python(code: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command, env = [sys.executable, "-c", code, *words], {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("line", ["--help", "list --help", "run --help", "answer --help", "up --help", "completion zsh"])
def test_help_loads_nothing_heavy(line: str) -> None:
    words = line.split()
    code = "import sys; from app.cli.main import main; code = main(sys.argv[1:]); print(code, *sys.modules, file=sys.stderr)"
    exit_code, *loaded = python(code, *words).stderr.split()
    assert exit_code == "0"
    assert [name for name in HEAVY if name in loaded] == []
    commands = {name.split(".")[3] for name in loaded if name.startswith("app.cli.commands.")}
    assert commands == {words[0]} - {"--help"}


def test_the_table_names_commands_that_exist_and_says_what_they_say() -> None:
    with podwire.make_context("podwire", ["list"]) as context:
        for name, (_, text) in COMMANDS.items():
            command = podwire.get_command(context, name)
            assert isinstance(command, click.Command) and command.name == name
            assert command.help == f"{text[0].upper()}{text[1:]}.", name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing command."),
        (["lst"], "No such command 'lst'. Did you mean list?"),
        (["priority", "r"], "Missing argument 'PRIORITY'. Choose from: critical, high"),
        (["cancel"], "Missing argument"),
        (["list", "more"], "unexpected extra argument"),
        (["list", "--limit", "x"], "'x' is not a valid integer"),
        (["list", "--status", "odd"], "'odd' is not one of"),
        (["user"], "Missing command. See podwire user --help."),
        (["user", "crate"], "No such command 'crate'. Did you mean create?"),
        (["token", "revoke"], "Missing argument"),
        (["show", "-x", "r"], "No such option '-x'."),
    ],
)
def test_a_wrong_use_is_a_sentence_below_the_usage_and_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    usage, *_, sentence = told.err.splitlines()
    assert usage.startswith("Usage: podwire") and sentence.startswith("podwire: ") and said in sentence
    assert told.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Stop("no"), 2),
        (Unreachable("no"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.ClickException("no"), 1),
        (click.UsageError("no"), 2),
    ],
)
def test_the_exit_code_says_how_it_ended(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(cancel, "find_target", fails)
    assert main(["cancel", "r"]) == code


def test_what_a_command_returns_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel.cancel, "callback", lambda runs: 7)
    assert main(["cancel", "r"]) == 7


def test_a_reader_that_went_away_is_141() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.main", "--help"],
            cwd=ROOT,
            stdout=writable,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writable)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_version_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"podwire {version('podwire')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"{module.COMPLETE}={shell}_complete" in script and "podwire" in script


@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        ("podwire", "ca", {"cancel"}),
        ("podwire list", "--st", {"--status"}),
        ("podwire list --status", "qu", {"queued"}),
        ("podwire token", "", {"create", "list", "revoke"}),
        ("podwire queue", "re", {"resume"}),
        ("podwire run script.py", "--pri", set()),
    ],
)
def test_shells_are_told_what_may_follow(
    words: str, last: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(module.COMPLETE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"{words} {last}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    assert main([]) == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert {name for kind, name in lines if kind == "plain"} == offered


def test_completing_a_command_s_name_loads_no_command() -> None:
    code = "import sys; from app.cli.main import main; main([]); print(*sys.modules, file=sys.stderr)"
    asked = {module.COMPLETE: "bash_complete", "COMP_WORDS": "podwire ", "COMP_CWORD": "1"}
    done = python(code, **asked)
    assert "plain,migrate" in done.stdout.splitlines()
    assert [name for name in done.stderr.split() if name.startswith("app.cli.commands")] == []
