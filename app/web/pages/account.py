"""A person's own account: who they are, their tokens, their sessions."""

from __future__ import annotations

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import InvalidInput
from app.service import accounts
from app.web import auth
from app.web.auth import current_person
from app.web.context import context
from app.web.pages.site import done, page, pages, sentence

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "a year", "": "for ever"}


@pages.get("/account")
def account() -> AnyResponse:
    """Show the account."""
    return _account()


@pages.post("/account/tokens")
def create_token() -> AnyResponse:
    """Make a token and show it, this once."""
    person = current_person()
    days = request.form.get("days", "30")
    ttl_s = float(days) * 86400 if days in LIFETIMES and days else None
    try:
        plain, info = accounts.issue_token(context().services, person, person.id, request.form.get("name", "").strip(), ttl_s)
    except InvalidInput as error:
        return _account(422, problem=sentence(error))
    # No redirect: the token would have to pass through a place from which it can be read again.
    return _account(201, made=plain, made_name=info.name)


@pages.post("/account/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> AnyResponse:
    """Make a token worthless."""
    info = accounts.revoke_token(context().services, current_person(), token_id)
    return done(url_for("pages.account"), f"The token {info.name} does not work any more.")


@pages.post("/account/sign-out-everywhere")
def sign_out_everywhere() -> AnyResponse:
    """End all of the person's browser sessions, this one too."""
    person = current_person()
    accounts.sign_out_everywhere(context().services, person, person.id)
    flash("You are signed out in every browser.")
    response = redirect(url_for("pages.sign_in"), 303)
    auth.end_session(response)
    return response


def _account(status: int = 200, **values: object) -> AnyResponse:
    person = current_person()
    tokens = accounts.list_tokens(context().services, person, person.id)
    return page("account.html", status, tokens=tokens, lifetimes=LIFETIMES, **values)
