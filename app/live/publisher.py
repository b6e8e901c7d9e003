"""Hands dispatched runs to Celery. The message carries the run's id and nothing that matters: SQL has the truth."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.domain.errors import LiveUnavailable

TASK = "runs.supervise"
RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}


class CeleryPublisher:
    """Publishes `runs.supervise` with the run's priority."""

    def __init__(self, celery: Celery) -> None:
        """Use the application's broker connection pool."""
        self._celery = celery

    def publish(self, run_id: str, priority: int, shown: str, traceparent: str | None = None) -> None:
        """Send the message, within the broker's socket timeouts. Raises: LiveUnavailable."""
        try:
            self._celery.send_task(
                TASK,
                args=(run_id,),
                priority=priority,
                argsrepr=f"({run_id!r},)",
                kwargsrepr=shown,
                headers={"traceparent": traceparent} if traceparent else None,
                ignore_result=True,
                retry=True,
                retry_policy=RETRY,
            )
        except (OperationalError, RedisError, OSError) as error:
            raise LiveUnavailable(f"The workers cannot be told: {error}") from error
