"""What all pages share: the blueprint, the headers, errors as pages, short answers. What a page shows is in its own module."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, flash, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import BadRequest, InvalidInput, PodwireError, Unauthenticated
from app.domain.humanize import duration
from app.web.auth import csrf_token, signed_in
from app.web.pages import formats

LIVE_HEADER = "X-Podwire-Live"
# A page loads its own style sheet, scripts and stream and nothing else, so text from a program can never act.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

pages = Blueprint("pages", __name__, template_folder="templates", static_folder="../static", static_url_path="/assets")
for _name, _filter in formats.FILTERS.items():
    pages.add_app_template_filter(_filter, _name)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page."""
    return make_response(render_template(template, **values), status)


def is_live() -> bool:
    """Say whether the page's own script sent this form: it wants a short answer in place of a page."""
    return LIVE_HEADER in request.headers


def done(target: str, message: str | None = None) -> AnyResponse:
    """Answer a form that was carried out: redirect, so that a reload repeats nothing; 204 for the page's own script."""
    if is_live():
        return Response(status=204)
    if message:
        flash(message)
    return redirect(target, 303)


def local_path(given: str | None, otherwise: str) -> str:
    """Return where to go next: the given path when it stays on this site."""
    if not given or not given.startswith("/") or "\\" in given or not given.isprintable():
        return otherwise
    parts = urlsplit(given)
    return given if not parts.netloc and not parts.scheme and not given.startswith("//") else otherwise


def field_messages(error: InvalidInput) -> dict[str, list[str]]:
    """Return the faults by the field of the form that they belong to: `env.PATH` belongs to `env`."""
    found: dict[str, list[str]] = {}
    for fault in error.errors:
        root = fault.field.split(".")[0].split("[")[0]
        rest = fault.field[len(root) :].lstrip(".")
        found.setdefault(root, []).append(f"{rest} {fault.message}" if rest else fault.message)
    return found


def sentence(error: PodwireError) -> str:
    """Return what the error says to a person."""
    if isinstance(error, InvalidInput):
        return "; ".join(fault.message for fault in error.errors).capitalize() + "."
    wait = error.extensions.get("retry_after_s")
    return f"{error.detail} Try again in {duration(float(str(wait)))}." if wait else error.detail


def show_missing_pages(app: Flask) -> None:
    """Answer an unknown address with a page where a browser asked; programs get what the application says otherwise."""
    otherwise: Callable[[Any], Any] | None = app.error_handler_spec[None][None].get(HTTPException)

    def missing(error: NotFound) -> Any:
        accepts = request.accept_mimetypes
        if request.path.startswith("/v1") or accepts["text/html"] <= accepts["application/json"]:
            return otherwise(error) if otherwise else error
        return _harden(page("error.html", 404, title="Not found", message="There is no page at this address."))

    app.register_error_handler(404, missing)


@pages.before_request
def _refuse_nul() -> None:
    # No database keeps it as text, and nobody types it.
    sent = (request.path, *request.args.values(), *request.form.values())
    if any("\0" in text for text in sent):
        raise BadRequest("The request contains a NUL character.")


@pages.context_processor
def _everywhere() -> dict[str, object]:
    return {"person": signed_in(), "csrf": csrf_token(), "now": time.time(), "is_live": is_live()}


@pages.errorhandler(Unauthenticated)
def _sign_in_first(error: Unauthenticated) -> AnyResponse:
    if is_live():
        return make_response(jsonify(message=error.detail), 401)
    if request.method in ("GET", "HEAD"):
        path = request.full_path.rstrip("?")
        return redirect(url_for("pages.sign_in", next=path if path != "/" else None), 303)
    flash("Your session is over, so nothing was changed. Sign in and try again.")
    return redirect(url_for("pages.sign_in"), 303)


@pages.errorhandler(PodwireError)
def _refused(error: PodwireError) -> Response:
    if is_live():
        response = make_response(jsonify(message=sentence(error)), error.status)
    else:
        response = page("error.html", error.status, title=error.code.replace("_", " ").capitalize(), message=sentence(error))
    if "retry_after_s" in error.extensions:
        response.headers["Retry-After"] = str(error.extensions["retry_after_s"])
    return response


@pages.errorhandler(HTTPException)
def _http_error(error: HTTPException) -> AnyResponse:
    if error.response is not None:
        return error.get_response()
    return page("error.html", error.code or 500, title=error.name, message=error.description)


@pages.after_request
def _harden(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        for name, value in _HEADERS.items():
            response.headers[name] = value
    return response
