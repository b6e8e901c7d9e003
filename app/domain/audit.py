"""Who changed what about the queue and its runs, when, from what to what. A record of steering, not of a run's own life."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What somebody did."""

    PRIORITY = "priority"
    FRONT = "front"
    CANCEL = "cancel"
    DISPATCH = "dispatch"
    ADMISSION = "admission"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry: `at` is by the database's clock, `subject` a run's id or the scope of a limit, if there is one."""

    number: int
    at: float
    by: str
    action: Action
    subject: str | None
    before: str | None
    after: str | None
