"""The least that follows a run with Celery: a task that sleeps on the same pool with the same options."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("sleep", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=1, worker_pool="threads")


@app.task(name="sleep")
def sleep(seconds: float) -> None:
    """Take a thread for so long."""
    time.sleep(seconds)
