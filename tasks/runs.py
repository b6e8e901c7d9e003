"""The task that follows one run to its end."""

from __future__ import annotations

import logging

from celery import Task
from celery.exceptions import Reject

from app.domain.ids import is_run_id
from app.domain.log_context import about
from app.supervise.claim import supervise
from app.supervise.worker.lease_scope import Drained
from tasks.celery_app import app, worker

logger = logging.getLogger(__name__)


@app.task(name="runs.supervise", bind=True)
def supervise_run(self: Task, run_id: object = None, *_: object, **__: object) -> None:
    """Supervise the run, or leave it to the process that does. A draining worker gives the message back.

    What other versions may send beside the id is ignored; without an id there is nothing to do.
    """
    if not isinstance(run_id, str) or not is_run_id(run_id):
        logger.error("thrown away: a message without the id of a run: %.200r", run_id)
        return
    try:
        with about(run_id):
            supervise(worker().context, run_id, _traceparent(self))
    except Drained as drained:
        raise Reject(str(drained), requeue=True) from drained


def _traceparent(task: Task) -> str | None:
    found = (task.request.headers or {}).get("traceparent")
    return found if isinstance(found, str) else None
