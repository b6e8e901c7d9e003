"""The command line's words: what is submitted, which service is meant, which exit code comes back."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from app.cli.client.submission import RunOptions, submission
from app.cli.client.target import Target, credentials_path, find_target, save_target
from app.cli.commands.run import run
from app.cli.errors import Stop
from app.cli.main import main
from app.cli.terminal.view import answer_sentence, end_sentence, exit_code


def submitted(*words: str) -> dict[str, object]:
    given = run.make_context("run", list(words)).params
    return submission(RunOptions(**{name: value for name, value in given.items() if name not in ("detach", "as_json")}))


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "job.py"
    path.write_text("print('é')\n")
    return str(path)


def test_a_script_with_arguments_of_its_own(script: str) -> None:
    body = submitted("--priority", "high", "--memory", "512Mi", "--cpu", "0.5", script, "--cpu", "9", "--", "-x")
    assert body == {
        "script": "print('é')\n",
        "language": "python",
        "args": ["--cpu", "9", "--", "-x"],
        "priority": "high",
        "memory": "512Mi",
        "cpu": 0.5,
        "stdin": False,
    }


def test_what_is_tried_again(script: str) -> None:
    assert submitted("--retry", "OOMKilled", "--retry", "NodeLost", "--max-attempts", "4", script)["retry"] == {
        "max_attempts": 4,
        "reasons": ["OOMKilled", "NodeLost"],
    }
    assert submitted("--max-attempts", "1", script)["retry"] == {"max_attempts": 1, "reasons": []}


def test_a_command_behind_two_dashes(script: str) -> None:
    body = submitted("--env", "A=b=c", "--label", "team=x", "--file", script, "--timeout", "90", "--", "sh", "-c", "a -- b")
    assert body == {
        "command": ["sh", "-c", "a -- b"],
        "env": {"A": "b=c"},
        "labels": {"team": "x"},
        "files": {"job.py": "print('é')\n"},
        "timeout": 90,
        "priority": "normal",
        "stdin": False,
    }


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "from here")
    (tmp_path / "token").write_text("from there\n")
    body = submitted("--env", "A=1", "--secret-env", "API_KEY", "--secret-env-file", f"TOKEN={tmp_path}/token", "--", "true")
    assert body["env"] == {
        "A": "1",
        "API_KEY": {"value": "from here", "secret": True},
        "TOKEN": {"value": "from there", "secret": True},
    }
    with pytest.raises(Stop, match="no variable MISSING"):
        submitted("--secret-env", "MISSING", "--", "true")


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--secret-env", "KEY=s3cret", "--", "true"]) == 2
    said = capsys.readouterr().err
    assert "give the name alone" in said and "s3cret" not in said


@pytest.mark.parametrize("words", [[], ["--"], ["nowhere.py"], ["job.unknown"], ["--stdin", "--language", "bash", "-"]])
def test_what_cannot_be_run_is_a_sentence_and_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODWIRE_URL", "http://127.0.0.1:1")
        patch.setenv("PODWIRE_TOKEN", "t")
        assert main(["run", *words]) == 2
    assert capsys.readouterr().err.startswith("podwire: ")


def test_the_service_is_found_in_order(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PODWIRE_HOME": str(tmp_path / "var")}
    with pytest.raises(Stop, match="podwire up"):
        find_target(env)
    (tmp_path / "var").mkdir()
    save_target(tmp_path / "var" / "client.json", Target("http://127.0.0.1:8080", "local"))
    save_target(credentials_path(env), Target("https://far.example", "far"))
    assert find_target(env) == Target("http://127.0.0.1:8080", "local")
    assert find_target({"HOME": str(tmp_path)}).token == "far"
    assert find_target({**env, "PODWIRE_URL": "https://far.example/"}) == Target("https://far.example", "far")
    assert find_target({**env, "PODWIRE_URL": "https://other.example", "PODWIRE_TOKEN": "t"}).token == "t"
    with pytest.raises(Stop, match="no token"):
        find_target({**env, "PODWIRE_URL": "https://other.example"})


def test_the_token_is_kept_where_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "credentials"
    save_target(path, Target("https://far.example/", "secret"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": "https://far.example", "token": "secret"}
    assert "secret" not in repr(Target("https://far.example", "secret"))


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "client.json").write_text("{")
    with pytest.raises(Stop, match="damaged"):
        find_target({"HOME": str(tmp_path), "PODWIRE_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"status": "succeeded", "exit_code": 0}, 0),
        ({"status": "failed", "exit_code": 7, "signal": None}, 7),
        ({"status": "failed", "exit_code": None, "signal": "SIGKILL"}, 137),
        ({"status": "failed", "exit_code": 0}, 1),
        ({"status": "failed"}, 1),
        ({"status": "timed_out", "signal": "SIGTERM"}, 124),
        ({"status": "cancelled", "signal": "SIGTERM"}, 130),
        ({"status": "expired"}, 1),
    ],
)
def test_the_exit_code_is_the_run_s(end: dict[str, object], code: int) -> None:
    assert exit_code(end) == code


def test_sentences() -> None:
    assert answer_sentence({"state": "answered", "value": "red", "by": "ann"}) == "answered by ann: red"
    assert answer_sentence({"state": "answered", "value": None, "by": "ann"}) == "answered by ann"
    assert answer_sentence({"state": "answered", "value": "red", "by": None}) == "nobody answered in time; taken: red"
    assert answer_sentence({"state": "expired", "value": None}) == "nobody answered in time"
    assert "7 bytes" in end_sentence({"message": "Done.", "withheld_bytes": 7})
