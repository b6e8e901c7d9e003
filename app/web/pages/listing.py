"""The list of runs and the queue."""

from __future__ import annotations

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from app.domain.runs.run import FINAL, Priority, Status
from app.service import queries
from app.web.auth import current_person
from app.web.context import context
from app.web.pages.site import page, pages

PAGE_SIZE = 50
GROUPS = {"open": tuple(status for status in Status if status not in FINAL), "ended": tuple(FINAL)}


@pages.get("/")
def runs() -> AnyResponse:
    """List the runs that the person may see, newest first."""
    services, person = context().services, current_person()
    statuses, label, priority, before = _filters()
    found = queries.list_runs(
        services, person, statuses=statuses, label=label, priority=priority, before=before, limit=PAGE_SIZE + 1
    )
    shown = found[:PAGE_SIZE]
    kept = {name: text for name, text in request.args.items() if name in ("status", "priority", "label") and text}
    return page(
        "runs.html",
        runs=shown,
        older=shown[-1].sequence if len(found) > PAGE_SIZE else None,
        before=before,
        kept=kept,
        open_questions=queries.open_questions(services, person),
        statuses=list(Status),
        priorities=list(Priority),
    )


@pages.get("/queue")
def queue() -> AnyResponse:
    """Show the queue in the order in which runs start."""
    return page(
        "queue.html",
        items=queries.queue(context().services, current_person(), 500),
        gates=context().services.store.queue_admin.gates(),
    )


def _filters() -> tuple[tuple[Status, ...], tuple[str, str] | None, Priority | None, int | None]:
    # What is not a filter is none: a list never fails for a mistyped address.
    status, priority, before = (request.args.get(name, "") for name in ("status", "priority", "before"))
    statuses = GROUPS.get(status) or ((Status(status),) if status in list(Status) else ())
    name, colon, text = request.args.get("label", "").partition(":")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    return (
        statuses,
        (name.strip(), text.strip()) if colon else None,
        Priority(priority) if priority in list(Priority) else None,
        number,
    )
