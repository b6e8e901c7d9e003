"""One run: its status, why it waits or how it ended, its questions, its output."""

from __future__ import annotations

import secrets
from typing import Any

from werkzeug.wrappers import Response as AnyResponse

from app.domain.evidence import phases, sentence
from app.domain.question import QuestionState
from app.domain.run import Priority, Run
from app.service import look
from app.web.auth import current_person
from app.web.context import context
from app.web.pages import schema_form
from app.web.pages.output import tail
from app.web.pages.site import page, pages
from app.web.waits import waits


@pages.get("/runs/<run:run_id>")
def show_run(run_id: str) -> AnyResponse:
    """Show the run."""
    values = run_values(run_id)
    text, skipped = tail(context().services, values["run"])
    return page("run.html", tail=text, skipped=skipped, **values)


@pages.get("/runs/<run:run_id>/use")
def run_use(run_id: str) -> AnyResponse:
    """Show what the run uses at the moment, for the page's script: it asks every few seconds, so this looks at little."""
    services = context().services
    run = look.show(services, current_person(), run_id)
    return page("_use.html", run=run, use=look.use_of(services, run), evidence="")


@pages.get("/runs/<run:run_id>/panel")
def run_panel(run_id: str) -> AnyResponse:
    """Show what changes while the page is open, for its script."""
    return page("_panel.html", **run_values(run_id))


def run_values(run_id: str) -> dict[str, Any]:
    """Return what both show. Raises: NotFound."""
    services, person = context().services, current_person()
    run = look.show(services, person, run_id)
    questions = look.questions(services, person, run_id)
    return {
        "run": run,
        "wait": waits().of_run(run),
        "attempts": look.attempts(services, run) if run.attempt > 1 else [],
        "use": look.use_of(services, run),
        "evidence": _evidence(run) if run.status.final else "",
        "questions": questions,
        "open_count": sum(question.state is QuestionState.OPEN for question in questions),
        "form_fields": schema_form.fields,
        "priorities": list(Priority),
        "new_id": secrets.token_hex,
    }


def _evidence(run: Run) -> str:
    outcome = run.outcome
    measures = {
        "peak_memory_bytes": outcome.peak_memory_bytes if outcome else None,
        "memory_limit_bytes": run.spec.memory_bytes,
        "cpu_seconds": outcome.cpu_seconds if outcome else None,
    }
    return sentence(measures, run.evidence.to_json(), phases(run.evidence, run.queued_at, run.ended_at))
