"""What the web server loads, once in each of its processes, after it forked."""

from __future__ import annotations

import threading

from flask import Flask

from app.web.api.health import gauges_of
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
    site = app.extensions["podwire"]
    # Until the process ends: `config.gunicorn` has the counts written a last time when everybody has left.
    keep = services.store.counters.keep
    threading.Thread(target=keep, args=(lambda: gauges_of(site), threading.Event()), name="counts", daemon=True).start()
    return app
