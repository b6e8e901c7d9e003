"""`podwire migrate --wait`: what holds pods back until somebody else has migrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.main import main


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_DATABASE_URL", f"sqlite:///{tmp_path}/podwire.db")
    monkeypatch.setenv("PODWIRE_REDIS_URL", "redis://nowhere")
    monkeypatch.setenv("PODWIRE_SECRET_KEY", "k" * 32)


@pytest.mark.trap("D16")
def test_waiting_changes_nothing_and_ends_once_somebody_has_migrated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--wait", "0"]) == 1
    assert "has not been migrated" in capsys.readouterr().err
    assert main(["migrate", "--wait", "0"]) == 1
    assert main(["migrate"]) == 0
    assert main(["migrate", "--wait", "0"]) == 0


def test_a_database_that_does_not_answer_is_not_current(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODWIRE_DATABASE_URL", f"sqlite:///{tmp_path}/no/such/folder/podwire.db")
    assert main(["migrate", "--wait", "0"]) == 1
    assert capsys.readouterr().err
