"""The settings of artefacts: off by default, and what cannot be meant is refused."""

from __future__ import annotations

import pytest

from app.domain.artefacts import ArtefactRules
from app.domain.errors import SettingsError
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
