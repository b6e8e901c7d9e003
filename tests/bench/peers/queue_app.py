"""A bare Flask view that does one `apply_async`: the least that a service which hands work to Celery must do for a request.

Run by gunicorn's gevent worker as `tests.bench.peers.queue_app:app`; Redis is `BENCH_REDIS`.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from flask import Flask, request

celery = Celery("bench", broker=os.environ["BENCH_REDIS"])
celery.conf.update(task_default_queue="bench", task_ignore_result=True)
app = Flask(__name__)


@celery.task  # type: ignore[misc]
def work(body: dict[str, Any]) -> None:
    """Never runs: there is no worker."""


@app.post("/jobs")
def submit() -> tuple[dict[str, str], int]:
    """Queue the job and return its id."""
    return {"id": work.apply_async((request.get_json(),)).id}, 202
