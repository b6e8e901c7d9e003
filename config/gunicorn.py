"""How the web processes are served: gunicorn with gevent. Read by gunicorn itself: `gunicorn -c python:config.gunicorn`.

The application is loaded in each process after its fork and after gevent has patched it, never before: a database driver or a
lock that was imported unpatched would stop the whole process whenever one request waits.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType
from typing import Any

from gunicorn.glogging import Logger

from app.domain.errors import PodwireError
from config.logging import formatter
from config.settings import Settings

_settings = Settings.from_env()

# Beside the streams there is always room for requests, so that a full process can still say so, and that it is alive.
_REQUESTS = 256

wsgi_app = "app.web.wsgi:create()"
bind = [_settings.bind]
workers = _settings.web_processes
worker_class = "gevent"
worker_connections = _settings.max_sockets + _REQUESTS
backlog = 4096
preload_app = False
timeout = 60
keepalive = 5
# The streams are dismissed over drain_s; then the closing handshakes and the last requests get their time.
graceful_timeout = int(_settings.drain_s) + 15
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# Forwarded headers are believed by the application only (PODWIRE_TRUSTED_PROXIES), not here as well.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}


class Lines(Logger):  # type: ignore[misc]
    """Gunicorn's own lines, in the form of all others."""

    def setup(self, cfg: Any) -> None:
        """Set gunicorn's handlers up as it does, with our form."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter(_settings))


logger_class = Lines
# An access log would hold one-time login links.
accesslog = None
errorlog = "-"
loglevel = _settings.log_level.lower()
proc_name = "podwire-web"
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Begin to drain at SIGTERM: gunicorn only stops accepting, and that up to a second later."""
    leave = worker.handle_exit
    drain = worker.wsgi.extensions["podwire"].drain

    def on_term(number: int, frame: FrameType | None) -> None:
        drain.begin()
        leave(number, frame)

    signal.signal(signal.SIGTERM, on_term)


def worker_exit(server: Any, worker: Any) -> None:
    """Let the streams end: they are served outside of gunicorn's count of connections."""
    if hasattr(worker, "wsgi"):
        site = worker.wsgi.extensions["podwire"]
        site.drain.finish(_settings.drain_s + 10)
        with suppress(PodwireError):
            site.services.store.counters.leave()
