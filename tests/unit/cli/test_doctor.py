"""What `podwire doctor` prints and how it exits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.commands import doctor
from app.cli.main import main
from app.launch.kubernetes.checks.check_result import CheckResult, State

SETTINGS = {
    "PODWIRE_DATABASE_URL": "sqlite://",
    "PODWIRE_REDIS_URL": "redis://127.0.0.1:1/0",
    "PODWIRE_SECRET_KEY": "not-to-be-printed-" * 3,
    "PODWIRE_KUBE_NAMESPACE": "runs",
    "PODWIRE_KUBE_AGENT_IMAGE": "podwire:1",
}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in [name for name in os.environ if name.startswith("PODWIRE_")]:
        monkeypatch.delenv(name)
    for name, value in {**SETTINGS, "PODWIRE_LAUNCHER": "kubernetes", "PODWIRE_STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("state", "word", "code"),
    [(State.OK, "ok ", 0), (State.UNSEEN, "note ", 0), (State.WARNING, "warning ", 0), (State.FAILED, "failed ", 1)],
)
def test_each_finding_is_a_line_with_its_advice_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: State, word: str, code: int
) -> None:
    def found(_: object) -> Iterator[CheckResult]:
        yield CheckResult("quota", state, "it is full", "rules:\n  - more")

    monkeypatch.setattr(doctor, "_cluster", found)
    assert main(["doctor", "--cluster"]) == code
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ok", "client"], ["ok", "launcher"]]
    assert lines[2].startswith(word)
    assert lines[2].endswith("quota        it is full")
    assert [line.strip() for line in lines[3:]] == ["rules:", "- more"]
    assert "not-to-be-printed" not in printed


def test_a_cluster_is_not_examined_where_runs_use_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODWIRE_LAUNCHER", "local")
    assert main(["doctor", "--cluster"]) == 1
    assert "PODWIRE_LAUNCHER=kubernetes" in capsys.readouterr().out


def test_the_storage_of_artefacts_is_named_or_the_fault_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PODWIRE_LAUNCHER", "local")
    monkeypatch.setenv("PODWIRE_DATABASE_URL", f"sqlite:///{tmp_path}/podwire.db")
    monkeypatch.setenv("PODWIRE_WORKSPACES_DIR", str(tmp_path))
    main(["doctor"])
    assert f"ok      storage      artefacts in {tmp_path}, storage " in capsys.readouterr().out
    monkeypatch.setenv("PODWIRE_WORKSPACES_DIR", str(tmp_path / "missing"))
    assert main(["doctor"]) == 1
    assert "failed  storage      The storage of artefacts is not there on this replica" in capsys.readouterr().out
