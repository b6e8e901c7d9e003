"""The service whose database this machine reaches: its settings, for the commands that act without the API."""

from __future__ import annotations

import os

from app.cli.client.target import state_folder
from app.cli.embedded.state import saved_settings
from app.cli.errors import Stop
from config.settings import PREFIX, Settings


def local_settings() -> Settings:
    """Return the settings of the environment, else those of the embedded service. Raises: Stop, SettingsError."""
    if f"{PREFIX}DATABASE_URL" in os.environ:
        return Settings.from_env()
    found = saved_settings(state_folder())
    if found is None:
        raise Stop(
            "This command acts on the service's own database: run it where PODWIRE_DATABASE_URL and the other settings are set, "
            "or where podwire up was started."
        )
    return found
