"""The limits of the queue, for admins: what is set, and a form to set it."""

from __future__ import annotations

from collections.abc import Mapping

from flask import request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import FieldError, InvalidInput, NotFound
from app.domain.queue.limits import ScopeLimits
from app.service.queue import limits as limiting
from app.web.auth import current_person
from app.web.context import context
from app.web.pages.site import done, page, pages

NUMBERS = ("pending", "active", "queue_length", "weight")


@pages.get("/admin/limits")
def limits() -> AnyResponse:
    """Show what is set; the form holds what is set of `scope`."""
    return _limits(scope=request.args.get("scope", ""))


@pages.post("/admin/limits")
def set_limits() -> AnyResponse:
    """Set all limits of one scope."""
    scope = request.form.get("scope", "").strip()
    try:
        limiting.set_limits(context().services, current_person(), scope, _given(request.form))
    except (InvalidInput, NotFound) as error:
        return _limits(error.status, problem=_sentence(error), given=request.form)
    return done(url_for("pages.limits"), f"The limits of {scope} are set.")


@pages.post("/admin/limits/clear")
def clear_limits() -> AnyResponse:
    """Give one scope its defaults back."""
    scope = request.form.get("scope", "")
    limiting.clear_limits(context().services, current_person(), scope)
    return done(url_for("pages.limits"), f"The defaults hold for {scope} again.")


def _given(form: Mapping[str, str]) -> ScopeLimits:
    texts = {name: form.get(name, "").strip() for name in (*NUMBERS, "group")}
    wrong = [name for name in NUMBERS if texts[name] and not (texts[name].isascii() and texts[name].isdigit())]
    if wrong:
        raise InvalidInput([FieldError(name, "must be a whole number") for name in wrong])
    # So many digits are too large anyway, and Python reads no more than some thousands.
    numbers = {name: int(texts[name][:30]) for name in NUMBERS if texts[name]}
    return ScopeLimits(**numbers, group=texts["group"] or None)


def _limits(status: int = 200, scope: str = "", **values: object) -> AnyResponse:
    services = context().services
    items = limiting.list_limits(services, current_person())
    of_scope = next((item.limits for item in items if str(item.scope) == scope), ScopeLimits())
    given = {"scope": scope, **{name: getattr(of_scope, name) for name in (*NUMBERS, "group")}}
    return page("limits.html", status, **{"items": items, "defaults": services.limits, "given": given, **values})


def _sentence(error: InvalidInput | NotFound) -> str:
    if isinstance(error, NotFound):
        return error.detail
    return "; ".join(f"{fault.field.replace('_', ' ')} {fault.message}" for fault in error.errors).capitalize() + "."
