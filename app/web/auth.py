"""Who sends a request, and whether it may be believed: bearer tokens, browser sessions, CSRF and origin checks.

Nothing is remembered between requests: a revoked token or session is refused by every replica at its next request. Who may
do what is decided in the use cases, never here.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from flask import Flask, g, request
from werkzeug.wrappers import Response

from app.domain.errors import Forbidden, Unauthenticated
from app.domain.person import Person
from app.service.services import Services
from app.web.context import context

SESSION_COOKIE = "podwire_session"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_SESSION_NEEDED = frozenset({"pages.sign_in_by_token", "pages.use_link"})


class Scheme(StrEnum):
    """How a request proves who sent it."""

    TOKEN = "token"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request proved itself with; `still_valid` checks it again later, on any replica."""

    scheme: Scheme
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _SignedIn:
    person: Person
    credential: Credential
    csrf: str | None = field(default=None, repr=False)


def register(app: Flask) -> None:
    """Set the application's cookies up and check every unsafe request that a browser session sends."""
    settings = app.extensions["podwire"].settings
    app.secret_key = settings.secret_key
    app.config.update(
        SESSION_COOKIE_NAME="podwire_notes",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure_cookies,
    )
    app.before_request(_check_csrf)


def current_person() -> Person:
    """Return who sent this request. Raises: Unauthenticated, StoreUnavailable."""
    return _require().person


def credential() -> Credential:
    """Return what this request proved itself with. Raises: Unauthenticated, StoreUnavailable."""
    return _require().credential


def csrf_token() -> str | None:
    """Return the token that unsafe requests of this browser session must carry; None without a session."""
    found = _present()
    return found.csrf if found else None


def signed_in() -> Person | None:
    """Return who sent this request, or None for nobody."""
    found = _present()
    return found.person if found else None


def still_valid(services: Services, held: Credential) -> Person | None:
    """Look the credential up again: the person as they are now, or None once it no longer counts."""
    found = _look_up(services, held)
    return found.person if found else None


def check_origin() -> None:
    """Refuse a browser's request that another site caused. Tokens are exempt: a browser never adds those by itself.

    For WebSockets with a session (browsers apply no same-origin rule to them) and for signing in. Raises: Forbidden.
    """
    if _bearer() is not None:
        return
    origin = request.headers.get("Origin")
    if origin is None or not _same_origin(origin):
        raise Forbidden("This request came from another site; open Podwire's own page and try again.")


def start_session(response: Response, session_id: str) -> None:
    """Hand the browser its session."""
    settings = context().settings
    response.set_cookie(
        SESSION_COOKIE,
        session_id,
        max_age=int(settings.session_s),
        httponly=True,
        samesite="Lax",
        secure=settings.secure_cookies,
    )


def end_session(response: Response) -> None:
    """Forget the session here and in the browser."""
    held = request.cookies.get(SESSION_COOKIE)
    if held:
        context().services.store.users.close_session(held)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="Lax", secure=context().settings.secure_cookies)


def _require() -> _SignedIn:
    found = _present()
    if found is None:
        raise Unauthenticated()
    return found


def _present() -> _SignedIn | None:
    # One look-up per request, kept on the request itself.
    if "signed_in" not in g:
        held = _given()
        g.signed_in = _look_up(context().services, held) if held else None
    found: _SignedIn | None = g.signed_in
    return found


def _given() -> Credential | None:
    # A token that is wrong is never made up for by a session: what was sent expressly counts.
    token = _bearer()
    if token is not None:
        return Credential(Scheme.TOKEN, token)
    session_id = request.cookies.get(SESSION_COOKIE)
    return Credential(Scheme.SESSION, session_id) if session_id else None


def _bearer() -> str | None:
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _look_up(services: Services, held: Credential) -> _SignedIn | None:
    if held.scheme is Scheme.TOKEN:
        person = services.store.users.person_of_token(held.secret)
        return _SignedIn(person, held) if person else None
    session = services.store.users.session(held.secret)
    return _SignedIn(session[0], held, session[1]) if session else None


def _check_csrf() -> None:
    if request.method in _SAFE_METHODS or request.endpoint in _NO_SESSION_NEEDED or _bearer() is not None:
        return
    found = _present()
    if found is None or found.csrf is None:
        return
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
        sent = request.form.get(CSRF_FIELD)
    if sent is None or not hmac.compare_digest(sent.encode(), found.csrf.encode()):
        raise Forbidden("This form is out of date or came from another site; reload the page and send it again.")
    origin = request.headers.get("Origin")
    if origin is not None and not _same_origin(origin):
        raise Forbidden("This request came from another site; open Podwire's own page and try again.")


def _same_origin(origin: str) -> bool:
    # Host and port only: behind a proxy that ends TLS, this process cannot know the scheme.
    try:
        sender = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return sender != "" and sender in (request.host.lower(), urlsplit(context().settings.public_url).netloc.lower())
