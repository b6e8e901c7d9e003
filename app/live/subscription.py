"""One pub/sub connection, kept up for ever: it reconnects, and notices when it is dead although nothing says so.

It hands messages over and says when a channel is (again) subscribed; what was missed is the receiver's to find out.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import redis

logger = logging.getLogger(__name__)

MAX_BACKOFF_S = 2.0
POLL_S = 0.5


class SilentConnection(redis.ConnectionError):
    """The connection brought nothing, not even our own probe."""


class Subscription:
    """Keeps the wanted channels subscribed. `run` owns the connection; the other methods suit any thread.

    `on_subscribed(channel)` comes after each acknowledgement, so after every reconnection too, before any message.
    Callbacks run in the thread of `run` and must not block; an error in one makes the connection anew.
    """

    def __init__(
        self,
        client: redis.Redis,
        on_message: Callable[[str, bytes], None],
        on_subscribed: Callable[[str], None],
        on_lost: Callable[[], None] = lambda: None,
        *,
        probe_s: float = 5.0,
    ) -> None:
        """Nothing is connected before `run`. A connection silent for twice `probe_s` seconds is given up."""
        self._client: Any = client  # much of it is not annotated
        self._on_message, self._on_subscribed, self._on_lost = on_message, on_subscribed, on_lost
        self._probe_s = probe_s
        self._own = f"pw:probe:{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._held: set[str] = set()
        self._up = threading.Event()
        self.connections = 0
        self.errors = 0

    @property
    def up(self) -> bool:
        """True while the connection is made and answered of late."""
        return self._up.is_set()

    @property
    def wanted(self) -> frozenset[str]:
        """The channels to be subscribed."""
        with self._lock:
            return frozenset(self._wanted)

    def want(self, channel: str) -> None:
        """Subscribe the channel now and after every reconnection."""
        with self._lock:
            self._wanted.add(channel)
        self.wake()

    def unwant(self, channel: str) -> None:
        """Give the channel up, at the latest half a second from now."""
        with self._lock:
            self._wanted.discard(channel)

    def wake(self) -> None:
        """Make `run` look at what is wanted, now. Only its thread may use its connection: it is told through Redis."""
        if not self.up:
            return
        try:
            self._client.publish(self._own, b"wake")
        except (redis.RedisError, OSError) as error:
            logger.debug("wake was not sent: %s", error)

    def run(self, stop: Callable[[], bool]) -> None:
        """Keep the connection until `stop()`, which is asked at least twice a second while Redis answers."""
        failures = 0
        while not stop():
            before = time.monotonic()
            try:
                self._session(stop)
            except (redis.RedisError, OSError) as error:
                self.errors += 1
                logger.warning("pub/sub connection lost: %s", error)
            except Exception:
                self.errors += 1
                logger.exception("pub/sub connection given up")
            self._lost()
            failures = 0 if time.monotonic() - before > 2 * MAX_BACKOFF_S else failures + 1
            if not stop():
                time.sleep(random.uniform(0.5, 1.0) * min(MAX_BACKOFF_S, 0.1 * 2 ** min(failures, 8)))

    def _lost(self) -> None:
        if self._up.is_set():
            self._up.clear()
            self._on_lost()

    def _session(self, stop: Callable[[], bool]) -> None:
        pubsub = self._client.pubsub()
        try:
            self._held = {self._own}
            pubsub.subscribe(self._own)
            heard = probed = time.monotonic()
            while not stop():
                self._subscribe_wanted(pubsub)
                message = pubsub.get_message(timeout=min(POLL_S, self._probe_s))
                now = time.monotonic()
                if message is not None:
                    heard = now
                    self._handle(message)
                elif now - heard > 2 * self._probe_s:
                    raise SilentConnection("not even our own probe came back")
                if now - max(heard, probed) >= self._probe_s:
                    probed = now
                    self._client.publish(self._own, b"probe")
        finally:
            pubsub.close()

    def _subscribe_wanted(self, pubsub: Any) -> None:
        if not self._up.is_set():
            return
        wanted = {*self.wanted, self._own}
        if wanted == self._held:
            return
        fresh, stale = wanted - self._held, self._held - wanted
        self._held = wanted
        if fresh:
            pubsub.subscribe(*fresh)
        if stale:
            pubsub.unsubscribe(*stale)

    def _handle(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        if message["type"] == "subscribe" and channel == self._own:
            self.connections += 1
            self._up.set()
        elif message["type"] == "subscribe":
            self._on_subscribed(channel)
        elif message["type"] == "message" and channel != self._own:
            self._on_message(channel, message["data"])
