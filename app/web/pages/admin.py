"""Users and their tokens, and who changed what, for admins."""

from __future__ import annotations

from flask import request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import Conflict, FieldError, InvalidInput
from app.domain.person import Role
from app.service import accounts
from app.service.queue import queue_admin
from app.web.auth import current_person
from app.web.context import context
from app.web.pages.site import done, page, pages, sentence


@pages.get("/admin/users")
def users() -> AnyResponse:
    """List the users and their tokens."""
    return _users()


@pages.get("/admin/changes")
def changes() -> AnyResponse:
    """Show who steered what, newest first."""
    return page("changes.html", changes=queue_admin.changes(context().services, current_person(), None, None, 200))


@pages.post("/admin/users")
def create_user() -> AnyResponse:
    """Add a user and show the link with which they sign in for the first time."""
    services, admin = context().services, current_person()
    try:
        person = accounts.create_user(services, admin, request.form.get("name", "").strip(), _role())
    except (InvalidInput, Conflict) as error:
        return _users(error.status, problem=sentence(error), given=request.form)
    return _users(201, link=_link(person.id), link_name=person.name)


@pages.post("/admin/users/<user_id>/link")
def create_link(user_id: str) -> AnyResponse:
    """Show a fresh sign-in link for the user."""
    user = context().services.store.users.get(user_id)
    return _users(201, link=_link(user_id), link_name=user.person.name if user else "")


@pages.post("/admin/users/<user_id>/role")
def change_role(user_id: str) -> AnyResponse:
    """Give the user another role."""
    accounts.set_role(context().services, current_person(), user_id, _role())
    return done(url_for("pages.users"), "The role is changed.")


@pages.post("/admin/users/<user_id>/disabled")
def change_disabled(user_id: str) -> AnyResponse:
    """Shut the user out or let them in again."""
    disabled = request.form.get("disabled") == "1"
    accounts.set_disabled(context().services, current_person(), user_id, disabled)
    return done(url_for("pages.users"), "The user is shut out." if disabled else "The user may sign in again.")


@pages.post("/admin/tokens/<token_id>/revoke")
def revoke_user_token(token_id: str) -> AnyResponse:
    """Make a user's token worthless."""
    info = accounts.revoke_token(context().services, current_person(), token_id)
    return done(url_for("pages.users"), f"The token {info.name} does not work any more.")


def _role() -> Role:
    role = request.form.get("role", Role.USER.value)
    if role not in list(Role):
        raise InvalidInput([FieldError("role", f"must be one of {', '.join(Role)}")])
    return Role(role)


def _link(user_id: str) -> str:
    code = accounts.login_link(context().services, current_person(), user_id)
    base = context().settings.public_url.rstrip("/") or request.host_url.rstrip("/")
    return base + url_for("pages.link", code=code)


def _users(status: int = 200, **values: object) -> AnyResponse:
    services, admin = context().services, current_person()
    found = accounts.list_users(services, admin)
    tokens = {user.person.id: accounts.list_tokens(services, admin, user.person.id) for user in found}
    return page("users.html", status, users=found, tokens=tokens, roles=list(Role), **values)
