"""The task that follows one run to its end."""

from __future__ import annotations

from celery.exceptions import Reject

from app.domain.subject import about
from app.supervise.claim import supervise
from app.supervise.tenure import Drained
from tasks.celery_app import app, worker


@app.task(name="runs.supervise")
def supervise_run(run_id: str) -> None:
    """Supervise the run, or leave it to the process that does. A draining worker gives the message back."""
    try:
        with about(run_id):
            supervise(worker().crew, run_id)
    except Drained as drained:
        raise Reject(str(drained), requeue=True) from drained
