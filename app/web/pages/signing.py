"""Signing in with a token or a one-time link, and signing out."""

from __future__ import annotations

from flask import redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import Forbidden, PodwireError
from app.domain.person import Person
from app.service import accounts
from app.web import auth
from app.web.context import context
from app.web.pages.site import local_path, page, pages, sentence


@pages.get("/sign-in")
def sign_in() -> AnyResponse:
    """Show the form."""
    return page("sign_in.html", next=local_path(request.args.get("next"), ""))


@pages.post("/sign-in", endpoint="sign_in_by_token")
def sign_in_by_token() -> AnyResponse:
    """Sign in with a pasted token."""
    target = local_path(request.form.get("next"), url_for("pages.runs"))
    try:
        _same_site()
        plain = request.form.get("token", "").strip()
        person = accounts.sign_in_by_token(context().services, plain, request.remote_addr or "unknown")
    except PodwireError as error:
        return page("sign_in.html", error.status, next=target, problem=sentence(error))
    return _welcome(person, target)


@pages.get("/sign-in/link/<code>")
def link(code: str) -> AnyResponse:
    """Use a one-time link up. What only looks at it (a preview, a prefetch, another site) gets a button instead."""
    looks = request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
    if looks or request.headers.get("Sec-Fetch-Site") == "cross-site":
        return page("sign_in_link.html", code=code)
    return _use(code)


@pages.post("/sign-in/link/<code>")
def use_link(code: str) -> AnyResponse:
    """Use a one-time link after its button was pressed."""
    return _use(code)


@pages.post("/sign-out")
def sign_out() -> AnyResponse:
    """End this browser's session."""
    response = redirect(url_for("pages.sign_in"), 303)
    auth.end_session(response)
    return response


def _use(code: str) -> AnyResponse:
    try:
        _same_site()
        person = accounts.sign_in_by_link(context().services, code, request.remote_addr or "unknown")
    except PodwireError as error:
        return page("sign_in.html", error.status, next="", problem=sentence(error))
    return _welcome(person, url_for("pages.runs"))


def _welcome(person: Person, target: str) -> AnyResponse:
    session_id, _ = context().services.store.users.open_session(person.id, context().settings.session_s)
    response = redirect(target, 303)
    auth.start_session(response, session_id)
    return response


def _same_site() -> None:
    # Another site must not be able to sign a browser in as somebody else.
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("This request came from another site; open Podwire's own page and try again.")
