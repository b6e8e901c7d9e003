"""The launcher for Kubernetes is held to the suite of every launcher."""

from __future__ import annotations

from tests.contract.launcher_contract import LauncherContract


class TestKubernetesLauncher(LauncherContract):
    """The suite, on a real cluster."""
