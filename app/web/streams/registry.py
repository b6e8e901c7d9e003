"""The open streams of this web process: how many, whose, and how to dismiss them. Those of other processes are unknown here."""

from __future__ import annotations

import _thread
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from app.domain.errors import TooManySockets


class Slot:
    """One admitted stream. Release it when the stream is over."""

    __slots__ = ("_owner_id", "_registry", "on_drain")

    def __init__(self, registry: StreamRegistry, owner_id: str) -> None:
        """Made by StreamRegistry.acquire. `on_drain` makes the stream end; it may block, and is set once the stream stands."""
        self._registry: StreamRegistry | None = registry
        self._owner_id = owner_id
        self.on_drain: Callable[[], None] = _nothing

    def release(self) -> None:
        """Give the slot up. Idempotent."""
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.remove(self, self._owner_id)


class StreamRegistry:
    """Counts the streams of this process and of each user, up to the two limits. Thread-safe."""

    def __init__(self, limit: int, limit_per_user: int) -> None:
        """Nobody is in."""
        self._limit, self._limit_per_user = limit, limit_per_user
        self._lock = threading.Lock()
        self._slots: set[Slot] = set()
        self._of_user: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The open streams."""
        return len(self._slots)

    def acquire(self, owner_id: str) -> Slot:
        """Admit one more stream of the user. Raises: TooManySockets with the limit that is reached."""
        with self._lock:
            mine = self._of_user[owner_id]
            if mine >= self._limit_per_user:
                raise _full("You have", mine, self._limit_per_user)
            if len(self._slots) >= self._limit:
                raise _full("This replica has", len(self._slots), self._limit)
            slot = Slot(self, owner_id)
            self._slots.add(slot)
            self._of_user[owner_id] += 1
            return slot

    def remove(self, slot: Slot, owner_id: str) -> None:
        """Forget the stream (see Slot.release)."""
        with self._lock:
            self._slots.discard(slot)
            self._of_user[owner_id] -= 1
            if self._of_user[owner_id] <= 0:
                del self._of_user[owner_id]

    def close_all(self, window_s: float) -> None:
        """End all streams, in random order, spread over the window, so that not all clients come back at one moment."""
        with self._lock:
            slots = list(self._slots)
        random.shuffle(slots)
        started = time.monotonic()
        moments = sorted(random.uniform(0, window_s) for _ in slots)
        for moment, slot in zip(moments, slots, strict=True):
            time.sleep(max(0.0, started + moment - time.monotonic()))
            # Each on its own: one that is stuck in a write must not hold up the others.
            _thread.start_new_thread(slot.on_drain, ())


def _full(who: str, current: int, limit: int) -> TooManySockets:
    detail = f"{who} {current} open streams; the limit is {limit}."
    return TooManySockets(detail, limit=limit, current=current, retry_after_s=5)


def _nothing() -> None:
    """Nothing stands yet; the stream looks for itself whether it should end."""
