"""Builds the Flask application from its collaborators. What is registered, in which order, and nothing else."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from app.domain import log_context
from app.live.hub import Hub
from app.service.services import Services
from app.web import auth, errors, openapi, pages
from app.web.api import artefacts, audit, health, limits, output, people, questions, queue
from app.web.api.runs import views as runs
from app.web.context import WebContext
from app.web.streams import sse, websocket
from app.web.streams.drain import Drain
from app.web.streams.registry import StreamRegistry
from app.web.streams.sock import sock
from app.web.wait_reasons import WaitReasonCache
from config.settings import Settings

# What programs wrote is shown to browsers: they must never take it for a page of ours.
_API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


class RunId(BaseConverter):
    """Matches what has the form of a run id (domain.ids), so that everything else is 404 before anything is looked up."""

    regex = "r[a-z2-7]{19}"


class QuestionId(BaseConverter):
    """Matches what has the form of a question id."""

    regex = "r[a-z2-7]{19}-[0-9]{1,9}-[0-9]{1,9}"


def create_app(services: Services, hub: Hub, settings: Settings) -> Flask:
    """Return the application. It starts nothing: the hub is started by who runs the process."""
    app = Flask("app.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_request_bytes
    registry = StreamRegistry(settings.max_sockets, settings.max_sockets_per_user)
    app.extensions["podwire"] = WebContext(services, hub, settings, Drain(registry, settings.drain_s), WaitReasonCache(services))
    app.url_map.converters.update(run=RunId, question=QuestionId, artefact=artefacts.ArtefactName)
    app.url_map.redirect_defaults = False
    errors.register(app)
    auth.register(app)
    for module in (runs, questions, queue, audit, people, limits, output, artefacts, websocket, sse, health, openapi):
        app.register_blueprint(module.bp)
    sock.init_app(app)
    pages.register(app)
    app.after_request(_harden)
    app.before_request(_work_for)
    app.teardown_request(_done)
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app


def drain_of(app: Flask) -> Drain:
    """Return how the process of this application leaves."""
    site: WebContext = app.extensions["podwire"]
    return site.drain


def _work_for() -> None:
    # Everything that is logged from here on, by whatever library, belongs to the run that the request is about.
    named = request.view_args or {}
    log_context.set_present(named.get("run_id") or str(named.get("question_id", "")).partition("-")[0] or None)


def _done(_: BaseException | None) -> None:
    log_context.set_present(None)


def _harden(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.path.startswith("/v1/"):
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Content-Security-Policy", _API_POLICY)
        response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response
