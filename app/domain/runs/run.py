"""The run: its statuses, priorities and the frozen record that every layer passes around.

No rules of change (see lifecycle).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.runs.evidence import Evidence
from app.domain.runs.reason import Reason as Reason
from app.domain.runs.spec import RunSpec


class Status(StrEnum):
    """Where a run is in its life; FINAL has those in which nothing changes any more."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """True when nothing changes any more."""
        return self in FINAL

    @property
    def active(self) -> bool:
        """True when the run takes one of the active places (waiting for a person does not)."""
        return self in ACTIVE


FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT, Status.EXPIRED})
ACTIVE = frozenset({Status.STARTING, Status.RUNNING, Status.STOPPING})
SUPERVISED = ACTIVE | {Status.WAITING}


class Priority(StrEnum):
    """The five priorities, highest first. The wire form is the string, everywhere."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BACKGROUND = "background"

    @property
    def order(self) -> int:
        """The SQL order column: 0 (first) to 4."""
        return list(Priority).index(self)

    @property
    def celery(self) -> int:
        """The Celery message priority: 1, 3, 5, 7 or 9, where 0 would be the highest."""
        return 1 + 2 * self.order


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. Times in seconds, memory in bytes; None where it is not known."""

    status: Status
    reason: Reason
    message: str
    exit_code: int | None = None
    # Its name, such as SIGKILL.
    signal: str | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run's log is archived in SQL: everything up to `seq` (of `epoch`), `offset` output bytes, agent spool
    position `spool`.
    """

    epoch: int = 1
    seq: int = 0
    offset: int = 0
    spool: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a user's code. Times are seconds since the epoch by the database's clock.

    `sequence` is the order of submission. `token` is of the latest claim and fences its writes; `handle` names the present
    attempt to its launcher. `let_go_at` is when the program was allowed to begin, `deadline_at` when its timeout is over.
    """

    id: str
    sequence: int
    owner_id: str
    owner_name: str
    spec: RunSpec
    priority: Priority
    status: Status
    created_at: float
    # By an administrator, before all others.
    in_front: bool = False
    attempt: int = 1
    token: int = 0
    # The token before the first claim of the present attempt.
    first_token: int = 0
    lease_owner: str | None = None
    lease_until: float | None = None
    handle: str | None = None
    dispatched_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    queue_deadline_at: float | None = None
    queued_again_at: float | None = None
    not_before: float | None = None
    let_go_at: float | None = None
    deadline_at: float | None = None
    waiting_since: float | None = None
    stopping_since: float | None = None
    stop_reason: Reason | None = None
    cancel_requested_at: float | None = None
    cancelled_by: str | None = None
    outcome: Outcome | None = None
    # While it is starting: what it waits for, as a sentence; None when nothing is in its way.
    held_up: str | None = None
    evidence: Evidence = field(default_factory=Evidence)
    archived: Progress = field(default_factory=Progress)
    traceparent: str | None = None

    @property
    def queued_at(self) -> float:
        """When it entered the queue for its present attempt."""
        return self.created_at if self.queued_again_at is None else self.queued_again_at
