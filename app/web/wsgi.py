"""What the web server loads, once in each of its processes, after it forked."""

from __future__ import annotations

from flask import Flask

from app.web.factory import create_app
from app.wiring import build_hub, build_services
from config.logging import set_up_logging
from config.settings import Settings


def create() -> Flask:
    """Return the application of this process, with its hub running."""
    settings = Settings.from_env()
    set_up_logging(settings)
    services = build_services(settings)
    hub = build_hub(services, settings)
    app = create_app(services, hub, settings)
    hub.start()
    return app
