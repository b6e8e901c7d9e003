"""What every view works with, in one frozen value that the factory puts on the application. Nothing here is global."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

from app.service.services import Services
from app.web.wait_reasons import WaitReasonCache
from config.settings import Settings

if TYPE_CHECKING:
    from app.live.hub import Hub
    from app.web.streams.drain import Drain


@dataclass(frozen=True, slots=True)
class WebContext:
    """The services of this process, its hub of live watchers, its settings, whether it is shutting down, and a cache."""

    services: Services
    hub: Hub
    settings: Settings
    drain: Drain
    wait_reasons: WaitReasonCache


def context() -> WebContext:
    """Return the context of the application that handles the present request."""
    return cast(WebContext, current_app.extensions["podwire"])
