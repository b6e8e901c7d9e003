"""The part of Celery's worker that reads the queue: it shows that it lives, and takes the supervisors with it when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.worker.consumer import Consumer

logger = logging.getLogger(__name__)

BEAT_S = 5.0


class AliveFile:
    """A file that is touched again and again while the queue is read, or while Redis is waited for."""

    def __init__(self, path: str) -> None:
        """Touch nothing when the path is empty."""
        self._path = Path(path) if path else None
        self._failed = False

    def touch(self) -> None:
        """Touch it. A folder that is full or missing is logged once, and must not stop the consumer."""
        if self._path is None:
            return
        try:
            self._path.touch()
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.error("the sign of life was not written: %s", error)
            self._failed = True


def consumer_of(alive: AliveFile) -> type[Consumer]:
    """Return a consumer that touches the file from its own loop."""

    class Living(Consumer):  # type: ignore[misc]
        def register_with_event_loop(self, hub: Any) -> None:
            super().register_with_event_loop(hub)
            alive.touch()
            hub.call_repeatedly(BEAT_S, alive.touch)

        def ensure_connected(self, conn: Any) -> Any:
            ensure = conn.ensure_connection

            def touching(errback: Any, max_retries: Any = None, callback: Callable[[], Any] | None = None, **how: Any) -> Any:
                def between() -> None:
                    alive.touch()
                    if callback:
                        callback()

                return ensure(errback, max_retries, callback=between, **how)

            # Kombu calls back about once a second while it waits for Redis.
            conn.ensure_connection = touching
            return super().ensure_connected(conn)

    return Living


def drain_step(drain: Callable[[], None]) -> type[bootsteps.StartStopStep]:
    """Return the step that has the supervisors leave when the worker ends for a reason of its own, without a signal.

    Celery would wait for its tasks otherwise, and they are as long as the runs.
    """

    class Drain(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.components:Pool",)

        def close(self, parent: Any) -> None:
            drain()

    return Drain
