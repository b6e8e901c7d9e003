"""The open streams of a process: counted up to the limits, and closed when it drains."""

from __future__ import annotations

import threading
import time

import pytest

from app.domain.errors import TooManySockets
from app.web.streams.registry import StreamRegistry


@pytest.mark.trap("S11")
def test_places_are_counted_for_all_and_for_each() -> None:
    registry = StreamRegistry(limit=3, limit_per_user=2)
    first, _, other = registry.acquire("ann"), registry.acquire("ann"), registry.acquire("bob")
    with pytest.raises(TooManySockets) as full:
        registry.acquire("ann")
    assert full.value.extensions["limit"] == 2
    with pytest.raises(TooManySockets) as full:
        registry.acquire("cleo")
    assert full.value.extensions["limit"] == 3
    first.release()
    first.release()
    other.release()
    assert registry.count == 1
    registry.acquire("ann")
    with pytest.raises(TooManySockets):
        registry.acquire("ann")


@pytest.mark.trap("S13")
def test_all_are_dismissed_although_one_hangs() -> None:
    registry, gone, hang = StreamRegistry(100, 100), threading.Semaphore(0), threading.Event()
    for number in range(20):
        slot = registry.acquire("ann")
        slot.on_drain = hang.wait if number == 0 else gone.release  # type: ignore[assignment]
    started = time.monotonic()
    registry.close_all(0.2)
    assert all(gone.acquire(timeout=10) for _ in range(19))
    assert time.monotonic() - started >= 0.05
    hang.set()
