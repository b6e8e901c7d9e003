"""What a run uses while it goes on: one reading, and its form between processes. Kept nowhere for long."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from app.domain.bounded_json import is_finite


@dataclass(frozen=True, slots=True)
class Use:
    """One reading of an attempt: memory in bytes, seconds of processor time so far, cores at work since the last reading.

    `at` is seconds since the epoch, by the clock of the machine that measured. None where it is not known.
    """

    attempt: int
    at: float
    memory_bytes: int
    peak_memory_bytes: int
    cpu_seconds: float
    cpu_cores: float | None = None

    def encode(self) -> bytes:
        """Return the form that `decode` reads."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def decode(data: bytes) -> Use | None:
    """Return what `encode` wrote; None for anything else, such as the form of another version."""
    try:
        body = json.loads(data)
        return reading(body, int(body["attempt"]), float(body["at"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def reading(body: dict[str, object], attempt: int, at: float) -> Use | None:
    """Return what an agent told of an attempt; None when it is not a reading."""
    memory, peak = body.get("memory_bytes"), body.get("peak_memory_bytes")
    cpu, cores = body.get("cpu_seconds"), body.get("cpu_cores")
    if not isinstance(memory, int) or not isinstance(peak, int) or not isinstance(cpu, int | float):
        return None
    if not all(is_finite(number) for number in (memory, peak, cpu)):
        return None
    known = isinstance(cores, int | float) and is_finite(cores)
    return Use(attempt, at, memory, peak, float(cpu), float(cores) if known else None)  # type: ignore[arg-type]
