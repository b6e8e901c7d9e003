"""One run: its status, why it waits or how it ended, its questions, its output."""

from __future__ import annotations

import secrets
from typing import Any

from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import ArtefactsRemoved
from app.domain.runs.evidence import phases, sentence
from app.domain.runs.question import QuestionState
from app.domain.runs.run import Priority, Run
from app.service import artefacts, queries
from app.web.api.artefacts import download_url
from app.web.auth import current_person
from app.web.context import context
from app.web.pages import schema_form
from app.web.pages.output import tail
from app.web.pages.site import page, pages

SHOWN_FILES = 50


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
    run = queries.show(services, current_person(), run_id)
    return page("_use.html", run=run, use=queries.use_of(services, run), evidence="")


@pages.get("/runs/<run:run_id>/panel")
def run_panel(run_id: str) -> AnyResponse:
    """Show what changes while the page is open, for its script."""
    return page("_panel.html", **run_values(run_id))


def run_values(run_id: str) -> dict[str, Any]:
    """Return what both show. Raises: NotFound."""
    services, person = context().services, current_person()
    run = queries.show(services, person, run_id)
    questions = queries.questions(services, person, run_id)
    return {
        "run": run,
        "wait": context().wait_reasons.of_run(run),
        "attempts": queries.attempts(services, run) if run.attempt > 1 else [],
        "use": queries.use_of(services, run),
        "evidence": _evidence(run) if run.status.final else "",
        **_artefacts(run),
        "questions": questions,
        "open_count": sum(question.state is QuestionState.OPEN for question in questions),
        "form_fields": schema_form.fields,
        "priorities": list(Priority),
        "new_id": secrets.token_hex,
    }


def _artefacts(run: Run) -> dict[str, Any]:
    """Return the first files that an ended run left, where it left any, or why they are not there any more."""
    found = None
    if run.status.final and run.started_at is not None:
        try:
            found = artefacts.listing(context().services, current_person(), run.id, limit=SHOWN_FILES)
        except ArtefactsRemoved as error:
            return {"artefacts": None, "artefacts_gone": error.detail}
    some = found is not None and found.holding is not None and (found.files or found.holding.message)
    return {"artefacts": found if some else None, "artefacts_gone": "", "download_url": download_url}


def _evidence(run: Run) -> str:
    outcome = run.outcome
    measures = {
        "peak_memory_bytes": outcome.peak_memory_bytes if outcome else None,
        "memory_limit_bytes": run.spec.memory_bytes,
        "cpu_seconds": outcome.cpu_seconds if outcome else None,
    }
    return sentence(measures, run.evidence.to_json(), phases(run.evidence, run.queued_at, run.ended_at))
