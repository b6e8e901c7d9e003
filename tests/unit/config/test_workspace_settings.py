"""The settings of artefacts: off by default, and what cannot be meant is refused."""

from __future__ import annotations

import pytest

from app.domain.errors import SettingsError
from app.domain.runs.artefacts import ArtefactRules
from config.settings import Settings

LEAST = {"PODWIRE_DATABASE_URL": "sqlite://", "PODWIRE_REDIS_URL": "redis://h", "PODWIRE_SECRET_KEY": "k" * 32}


def test_nothing_is_kept_by_default() -> None:
    made = Settings.from_env(LEAST)
    assert made.workspaces_dir == "" and made.artefact_rules() == ArtefactRules()


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("DIR", "relative/folder", "must be an absolute path"),
        ("MAX_FILES", "0", "must be at least 1"),
        ("MAX_BYTES", "-1", "must be at least 1"),
        ("KEEP_S", "-1", "must be at least 0"),
        ("WITHIN_S", "-0.5", "must be at least 0"),
    ],
)
def test_faults_are_named(name: str, value: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"PODWIRE_WORKSPACES_{name} {fault}"):
        Settings.from_env({**LEAST, f"PODWIRE_WORKSPACES_{name}": value})


@pytest.mark.parametrize(
    ("artefacts", "runs", "kept"), [("50", "0", 50), ("50", "70", 50), ("50", "20", 20), ("0", "20", 20), ("0", "0", 0)]
)
def test_artefacts_are_kept_no_longer_than_their_runs(artefacts: str, runs: str, kept: float) -> None:
    made = Settings.from_env({**LEAST, "PODWIRE_WORKSPACES_KEEP_S": artefacts, "PODWIRE_KEEP_RUNS_S": runs})
    assert made.artefact_rules().keep_s == kept


def test_runs_cannot_be_kept_for_less_than_no_time() -> None:
    with pytest.raises(SettingsError, match="PODWIRE_KEEP_RUNS_S must be at least 0"):
        Settings.from_env({**LEAST, "PODWIRE_KEEP_RUNS_S": "-1"})
