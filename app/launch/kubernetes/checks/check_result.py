"""What one check of the cluster found, as a value. Nothing is looked up or printed here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check went. UNSEEN: this account may not look, and need not."""

    OK = "ok"
    UNSEEN = "unseen"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check: what it found in one sentence, and for all but OK what to do about it (may be several lines)."""

    name: str
    state: State
    detail: str
    advice: str = ""
