"""The settings of the launcher for Kubernetes: each fault is named, and none matters to other launchers."""

from __future__ import annotations

import pytest

from app.domain.errors import SettingsError
from config.settings import Settings

BASE = {"PODWIRE_DATABASE_URL": "sqlite:///x", "PODWIRE_REDIS_URL": "redis://x", "PODWIRE_SECRET_KEY": "x" * 32}
CLUSTER = BASE | {
    "PODWIRE_LAUNCHER": "kubernetes",
    "PODWIRE_KUBE_NAMESPACE": "runs",
    "PODWIRE_KUBE_AGENT_IMAGE": "registry.example/podwire:1",
}


def test_settings_for_a_cluster_read_back_as_they_were() -> None:
    settings = Settings.from_env(CLUSTER | {"PODWIRE_KUBE_IMAGES": '{"python": "python:3.12"}'})
    assert settings.parsed("kube_images") == {"python": "python:3.12"}
    assert settings.parsed("kube_allowed_images") == []
    assert Settings.from_env(settings.environment()) == settings


@pytest.mark.parametrize(
    ("environment", "fault"),
    [
        (CLUSTER | {"PODWIRE_KUBE_NAMESPACE": ""}, "PODWIRE_KUBE_NAMESPACE is missing"),
        (CLUSTER | {"PODWIRE_KUBE_AGENT_IMAGE": ""}, "PODWIRE_KUBE_AGENT_IMAGE is missing"),
        (CLUSTER | {"PODWIRE_KUBE_IMAGES": "python"}, "PODWIRE_KUBE_IMAGES must be a JSON dict"),
        (CLUSTER | {"PODWIRE_KUBE_TOLERATIONS": "{}"}, "PODWIRE_KUBE_TOLERATIONS must be a JSON list"),
        (BASE | {"PODWIRE_LAUNCHER": "docker"}, "PODWIRE_LAUNCHER must be local or kubernetes"),
    ],
)
def test_faults_are_named(environment: dict[str, str], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        Settings.from_env(environment)
    assert Settings.from_env(BASE).launcher == "local"
