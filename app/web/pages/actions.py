"""What a person does to a run: cancel it, change its priority, send it input."""

from __future__ import annotations

from flask import request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import FieldError, InvalidInput
from app.domain.runs.run import Priority
from app.service.queue import queue_admin
from app.service.runs import cancel, stdin
from app.web.auth import current_person
from app.web.context import context
from app.web.pages.site import done, pages


@pages.post("/runs/<run:run_id>/cancel")
def cancel_run(run_id: str) -> AnyResponse:
    """Cancel the run."""
    run = cancel.cancel(context().services, current_person(), run_id)
    message = "The run has ended." if run.status.final else "Asked the run to stop."
    return done(url_for("pages.show_run", run_id=run_id), message)


@pages.post("/runs/<run:run_id>/priority")
def change_priority(run_id: str) -> AnyResponse:
    """Give a queued run another priority."""
    wanted = request.form.get("priority", "")
    if wanted not in list(Priority):
        raise InvalidInput([FieldError("priority", f"must be one of {', '.join(Priority)}")])
    queue_admin.set_priority(context().services, current_person(), run_id, Priority(wanted))
    return done(url_for("pages.show_run", run_id=run_id), f"The priority is {wanted} now.")


@pages.post("/runs/<run:run_id>/front")
def move_to_front(run_id: str) -> AnyResponse:
    """Place a queued run before all others."""
    queue_admin.move_to_front(context().services, current_person(), run_id)
    return done(url_for("pages.show_run", run_id=run_id), "The run is at the front of the queue now.")


@pages.post("/queue")
def change_queue() -> AnyResponse:
    """Pause or close the queue, or end that."""
    given = {name: request.form[name] == "1" for name in ("paused", "closed") if name in request.form}
    now = queue_admin.set_gates(context().services, current_person(), **given)
    starts = "nothing is started" if now.paused else "runs are started"
    return done(url_for("pages.queue"), f"Now {starts}, and new runs are {'refused' if now.closed else 'taken in'}.")


@pages.post("/runs/<run:run_id>/input")
def send_input(run_id: str) -> AnyResponse:
    """Send the run a line of standard input, or the end of it."""
    eof = request.form.get("eof") == "1"
    data = "" if eof else request.form.get("data", "").replace("\r\n", "\n") + "\n"
    stdin.send(context().services, current_person(), run_id, data, request.form.get("input_id", "")[:128], eof)
    return done(url_for("pages.show_run", run_id=run_id), "Closed the input." if eof else "Sent.")
