"""Evidence of an attempt: where it ran, what its image was, when each phase began. Facts only: what nobody told is None."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from app.domain.humanize import duration, size

# In the order in which they come; `queued` and `ended` are the run's own.
PHASES = ("queued", "dispatched", "claimed", "created", "scheduled", "pulled", "started", "first_byte", "exited", "ended")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one attempt. Times are seconds since the epoch; those of a cluster are whole seconds.

    `dispatched` and `claimed` are of the hand-out that launched it (the database's clock); `created`, `scheduled` and `pulled`
    are the pod's; `started`, `first_byte` and `exited` are the agent's.
    """

    attempt: int = 1
    node: str | None = None
    image: str | None = None
    dispatched: float | None = None
    claimed: float | None = None
    created: float | None = None
    scheduled: float | None = None
    pulled: float | None = None
    started: float | None = None
    first_byte: float | None = None
    exited: float | None = None

    def with_added(self, **found: object) -> Evidence:
        """Return this with the facts added that were not known. What is known stays: it was told when it was fresh."""
        new = {name: _valid(name, found[name]) for name in found.keys() & _NAMES if getattr(self, name) is None}
        return replace(self, **{name: fact for name, fact in new.items() if fact is not None})  # type: ignore[arg-type]

    def to_json(self) -> dict[str, object]:
        """Return what is known."""
        return {name: fact for name, fact in asdict(self).items() if name in _NAMES and fact is not None}


_NAMES = frozenset(field.name for field in fields(Evidence)) - {"attempt"}


def encode(evidence: Evidence) -> str | None:
    """Return the stored form; None when nothing is known."""
    known = evidence.to_json()
    return json.dumps({"attempt": evidence.attempt, **known}, separators=(",", ":")) if known else None


def decode(text: str | None, attempt: int) -> Evidence:
    """Return what is stored of this attempt; what is stored of another one says nothing about it."""
    stored = json.loads(text) if text else {}
    fresh = Evidence(attempt)
    return fresh.with_added(**stored) if stored.get("attempt") == attempt else fresh


def phases(evidence: Evidence, queued: float, ended: float | None) -> dict[str, float]:
    """Return when each known phase began, in order.

    A cluster tells whole seconds, cut off: where the phase before is known to have begun later in that second, this one has too.
    """
    known: dict[str, float] = {}
    last = queued
    for name in PHASES:
        at = queued if name == "queued" else ended if name == "ended" else getattr(evidence, name)
        if at is None:
            continue
        if at < last < at + 1 and at == int(at):
            at = last
        known[name] = last = at
    return known


def sentence(measures: Mapping[str, float | None], evidence: Mapping[str, object], times: Mapping[str, float]) -> str:
    """Return what is known of an end in one line.

    `measures` may hold peak_memory_bytes, memory_limit_bytes and cpu_seconds; `evidence` node and image; `times` the phases.
    """
    parts = [_memory(measures.get("peak_memory_bytes"), measures.get("memory_limit_bytes"))]
    if (cpu := measures.get("cpu_seconds")) is not None:
        parts.append(f"{duration(cpu)} CPU")
    parts.append(f"on {evidence['node']}" if evidence.get("node") else "")
    parts.append(f"image {short_image(str(evidence['image']))}" if evidence.get("image") else "")
    went = [_took("waited", times, "queued", "claimed"), _took("started in", times, "claimed", "started")]
    went.append(_took("ran", times, "started", "exited" if "exited" in times else "ended"))
    text = "; ".join(", ".join(part for part in half if part) for half in (parts, went) if any(half))
    return text[:1].upper() + text[1:]


def short_image(image: str) -> str:
    """Return a name that fits into a line: the last part of the repository, and the first of the digest."""
    name, at, digest = image.partition("@")
    name = name.rpartition("/")[2]
    kind, colon, value = digest.partition(":")
    return f"{name}@{kind}{colon}{value[:12]}" if at else (image[:19] if image.startswith("sha256:") else name)


def _memory(peak: float | None, limit: float | None) -> str:
    if peak is None:
        return ""
    return f"peak memory {size(peak)} of {size(limit)} ({100 * peak / limit:.0f} %)" if limit else f"peak memory {size(peak)}"


def _took(word: str, times: Mapping[str, float], begin: str, end: str) -> str:
    if begin not in times or end not in times:
        return ""
    return f"{word} {duration(max(0.0, times[end] - times[begin]))}"


def _valid(name: str, fact: object) -> object:
    if name in ("node", "image"):
        return fact[:500] if isinstance(fact, str) and fact else None
    return float(fact) if isinstance(fact, int | float) and not isinstance(fact, bool) else None
