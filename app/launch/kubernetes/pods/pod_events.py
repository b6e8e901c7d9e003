"""What the cluster's events about a pod tell the person who waits for it: scheduling, pulling, backing off. Pure."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# What every pod goes through within the same second is no news.
DULL = frozenset({"Created", "Started", "Killing", "SandboxChanged"})
PRESENT = "already present on machine"
MAX_MESSAGE = 500

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Notice:
    """One piece of news. `id` is the same whoever reads the event, and however often it has happened since."""

    id: str
    code: str
    message: str


class Turns:
    """Lets one of many ask, and the next no sooner than `apart_s` later. Thread-safe."""

    def __init__(self, apart_s: float) -> None:
        """Let the first one ask at once."""
        self._apart_s, self._free_at = apart_s, 0.0
        self._lock = threading.Lock()

    def take(self, now: float) -> bool:
        """Say whether it is the caller's turn; then it is nobody's for a while."""
        with self._lock:
            if now < self._free_at:
                return False
            self._free_at = now + self._apart_s
            return True


def notices(events: Iterable[dict[str, Any]]) -> list[Notice]:
    """Return what is worth telling, in the order in which it happened."""
    notices: dict[str, Notice] = {}
    for event in sorted(events, key=_when):
        reason, message = str(event.get("reason") or ""), str(event.get("message") or "").strip()
        if reason and reason not in DULL and PRESENT not in message:
            name = str((event.get("metadata") or {}).get("name"))
            notices.setdefault(name, Notice(f"event-{name}", code_of(reason), message[:MAX_MESSAGE]))
    return list(notices.values())


def code_of(reason: str) -> str:
    """Return the code of a notice: `FailedScheduling` is failed_scheduling."""
    return _WORDS.sub("_", reason).lower()


def _when(event: dict[str, Any]) -> str:
    for name in ("firstTimestamp", "eventTime", "lastTimestamp"):
        if event.get(name):
            return str(event[name])
    return str((event.get("metadata") or {}).get("creationTimestamp") or "")
