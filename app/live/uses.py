"""What runs use at the moment: one small key per run in Redis that expires by itself, and the twin of it in memory.

Whoever cannot reach Redis leaves it alone for some seconds: a missing reading must not cost anybody a wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from app.domain.errors import LiveUnavailable
from app.domain.runs.usage import Use, decode
from app.live.connect import translated
from app.live.names import use_key

logger = logging.getLogger(__name__)

TTL_S = 15.0
AGAIN_AFTER_S = 5.0


class RedisUses:
    """ports.Uses in Redis. Thread-safe."""

    def __init__(self, client: redis.Redis, ttl_s: float = TTL_S) -> None:
        """Use a client that gives up soon (see app.live.connect)."""
        self._client: Any = client
        self._ttl_ms = int(ttl_s * 1000)
        self._again_at = 0.0
        self.failures = 0

    def put(self, run_id: str, use: Use) -> None:
        """Keep the newest reading for a while."""
        self._try(lambda: self._client.set(use_key(run_id), use.encode(), px=self._ttl_ms))

    def get(self, run_id: str) -> Use | None:
        """Return the newest reading, if there is one that is fresh."""
        data = self._try(lambda: self._client.get(use_key(run_id)))
        return decode(data) if isinstance(data, bytes) else None

    def _try(self, call: Callable[[], object]) -> object:
        if time.monotonic() < self._again_at:
            return None
        try:
            with translated():
                return call()
        except LiveUnavailable as error:
            self.failures += 1
            self._again_at = time.monotonic() + AGAIN_AFTER_S
            logger.debug("what runs use is not known now: %s", error)
            return None


class MemoryUses:
    """ports.Uses in the memory of one process. `clear()` does to it what happens to a Redis."""

    def __init__(self, ttl_s: float = TTL_S) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._ttl_s = ttl_s
        self._kept: dict[str, tuple[Use, float]] = {}

    def put(self, run_id: str, use: Use) -> None:
        """Keep the newest reading for a while."""
        with self._lock:
            self._kept[run_id] = (use, time.monotonic() + self._ttl_s)

    def get(self, run_id: str) -> Use | None:
        """Return the newest reading, if there is one that is fresh."""
        with self._lock:
            use, until = self._kept.get(run_id, (None, 0.0))
        return use if time.monotonic() < until else None

    def clear(self) -> None:
        """Forget everything, as FLUSHALL does."""
        with self._lock:
            self._kept.clear()
