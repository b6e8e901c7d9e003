"""The thread that writes the logs of this process's runs to SQL, about once a second or when enough has come together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.domain.errors import Fenced, PodwireError
from app.supervise.log.run_log import RunLog

logger = logging.getLogger(__name__)

EVERY_S = 1.0
SOON_BYTES = 256 * 1024


class Archiver:
    """Archives every registered log. Thread-safe; one thread calls `work`."""

    def __init__(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Begin with nothing to archive; `on_failure` is called for each log that could not be written."""
        self._lock = threading.Lock()
        self._logs: set[RunLog] = set()
        self._soon = threading.Event()
        self._on_failure = on_failure

    @contextmanager
    def keeping(self, log: RunLog) -> Iterator[None]:
        """Archive the log while inside."""
        with self._lock:
            self._logs.add(log)
        try:
            yield
        finally:
            with self._lock:
                self._logs.discard(log)

    def hint(self, log: RunLog) -> None:
        """Ask for an early turn when the log keeps much."""
        if log.kept_bytes >= SOON_BYTES:
            self._soon.set()

    def turn(self) -> None:
        """Archive what every log keeps now. A log that fails does not keep the others from their turn."""
        with self._lock:
            logs = list(self._logs)
        for log in logs:
            try:
                while log.archive():
                    pass
            except Fenced:
                logger.info("run %s: archived by another supervisor now", log.run_id)
            except PodwireError as error:
                self._on_failure()
                logger.warning("run %s: not archived: %s", log.run_id, error)

    def work(self, stop: threading.Event) -> None:
        """Take turns until `stop`."""
        while not stop.is_set():
            self._soon.wait(EVERY_S)
            self._soon.clear()
            self.turn()
            # At most ten turns a second, however much comes in: batches stay large.
            stop.wait(0.1)
