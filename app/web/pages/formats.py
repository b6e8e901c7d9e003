"""How pages write times and values, and what forms take. No markup."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.domain.humanize import duration, size
from app.web.api.shapes import timestamp


def utc(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as `2026-11-21 10:00:05 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size_field(amount: int) -> str:
    """Return a number of bytes as a form's field takes it: `512Mi`."""
    for unit, factor in (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024)):
        if amount and amount % factor == 0:
            return f"{amount // factor}{unit}"
    return str(amount)


def duration_field(seconds: float) -> str:
    """Return a duration as a form's field takes it: `1h`."""
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{int(seconds) if float(seconds).is_integer() else seconds}s"


def status_words(status: str) -> str:
    """Return a status as people read it: `timed out`."""
    return status.replace("_", " ")


def answer(given: object) -> str:
    """Return an answer as people read it."""
    if isinstance(given, bool):
        return "Yes" if given else "No"
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def printable(name: str) -> str:
    """Return a name that a program chose as it can be read: what is not printable is escaped."""
    return name if name.isprintable() else json.dumps(name)


FILTERS: dict[str, Callable[..., Any]] = {
    "utc": utc,
    "rfc3339": timestamp,
    "duration": duration,
    "size": size,
    "status_words": status_words,
    "answer": answer,
    "printable": printable,
}
