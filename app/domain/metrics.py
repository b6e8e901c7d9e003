"""Every number that is exported: name, type, labels, meaning. docs/metrics.md and `/metrics` are made from this one table.

Label sets are closed: what is not in a set counts as `unknown`, and no id is ever a label. Nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from app.domain.errors import PodwireError
from app.domain.runs.run import Priority, Reason, Run, Status

UNKNOWN = "unknown"
INFINITE = "+Inf"


class Kind(StrEnum):
    """The Prometheus type of a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Increment:
    """What is added to one stored count. `le` is the bucket of an observation, by its upper bound, and `total` its size."""

    name: str
    labels: tuple[str, ...] = ()
    le: str = ""
    value: int = 1
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One exported number. `sets` holds the closed set of values of each label; `bounds` those of a histogram's buckets."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()
    bounds: tuple[float, ...] = ()

    def known(self, values: Iterable[str]) -> tuple[str, ...]:
        """Return the label values, those outside of their sets as `unknown`."""
        return tuple(value if value in allowed else UNKNOWN for value, allowed in zip(values, self.sets, strict=True))

    def key(self, *values: str) -> str:
        """Return the name under which a process reports its own value of a gauge."""
        return "|".join((self.name, *values))

    def count(self, *values: str, by: int = 1) -> Increment:
        """Return one more, or `by` more, of a counter."""
        return Increment(self.name, self.known(values), value=by)

    def observe(self, size: float, *values: str) -> Increment:
        """Return one observation of a histogram; less than nothing (a clock that was set back) counts as nothing."""
        size = max(0.0, size)
        bucket = next((f"{bound:g}" for bound in self.bounds if size <= bound), INFINITE)
        return Increment(self.name, self.known(values), bucket, total=size)

    def series(self) -> Iterator[tuple[str, ...]]:
        """Return the label values that are always exported, also at zero, so that a rate has something to begin with."""
        if self is ENDED_RUNS:
            yield from ((_STATUS_OF.get(reason, Status.FAILED).value, reason.value) for reason in Reason)
        else:
            yield from product(*self.sets)


_PRIORITIES = tuple(priority.value for priority in Priority)
_STATUS_OF = {
    Reason.COMPLETED: Status.SUCCEEDED,
    Reason.RUN_TIMEOUT: Status.TIMED_OUT,
    Reason.QUEUE_TIMEOUT: Status.EXPIRED,
    Reason.CANCELLED_BY_USER: Status.CANCELLED,
    Reason.CANCELLED_BY_ADMIN: Status.CANCELLED,
}
_WAIT_BOUNDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_DISPATCH_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
# Refusals that HTTP itself knows, beside the errors of this service.
_HTTP_CODES = ("method_not_allowed", "unsupported_media_type", "range_not_satisfiable", "upgrade_required", "internal")
PERIODIC_WORK = (
    "dispatch",
    "redispatch",
    "expire-runs",
    "expire-questions",
    "remove-orphans",
    "repair-queue",
    "remove-artefacts",
    "find-lost-artefacts",
    "remove-runs",
    "announce-ends",
    "leases",
    "archiver",
)
REPAIRS = ("lease_expired", "not_claimed", "released", "orphan", "end_not_announced")
PROCESS_KINDS = ("web", "worker")


def _codes(tree: type[PodwireError] = PodwireError) -> Iterator[str]:
    for error in tree.__subclasses__():
        if error.status != 500:
            yield error.code
        yield from _codes(error)


def refusal_codes() -> tuple[str, ...]:
    """Return every code that a request may be refused with."""
    return tuple(sorted({*_codes(), *_HTTP_CODES}))


QUEUE_DEPTH = Metric("podwire_queue_depth", Kind.GAUGE, "Queued runs.", ("priority",), (_PRIORITIES,))
OLDEST_WAIT = Metric(
    "podwire_queue_oldest_wait_seconds",
    Kind.GAUGE,
    "How long the oldest queued run has waited; 0 when none is queued.",
    ("priority",),
    (_PRIORITIES,),
)
RUNS = Metric(
    "podwire_runs",
    Kind.GAUGE,
    "Runs that have left the queue and not ended: `active` ones take a place, `waiting` ones wait for a person.",
    ("state",),
    (("active", "waiting"),),
)
PROCESSES = Metric("podwire_processes", Kind.GAUGE, "Processes that live.", ("kind",), (PROCESS_KINDS,))
DRAINING = Metric("podwire_processes_draining", Kind.GAUGE, "Processes that are leaving.", ("kind",), (PROCESS_KINDS,))
STREAMS = Metric("podwire_streams", Kind.GAUGE, "Open streams to watchers, over all web processes.")
DEGRADED = Metric("podwire_live_degraded", Kind.GAUGE, "Web processes without a connection to Redis.")
SLOTS = Metric("podwire_worker_slots", Kind.GAUGE, "Runs that the workers can supervise at once, over all worker processes.")
SUPERVISED = Metric("podwire_supervised_runs", Kind.GAUGE, "Runs that worker processes supervise now.")
QUEUE_WAIT = Metric(
    "podwire_queue_wait_seconds",
    Kind.HISTOGRAM,
    "Time from entering the queue to leaving it to be started: one observation for each time that a run leaves it so.",
    ("priority",),
    (_PRIORITIES,),
    _WAIT_BOUNDS,
)
DISPATCH_TIME = Metric(
    "podwire_dispatch_seconds",
    Kind.HISTOGRAM,
    "Time that taking one run out of the queue took, from the look at the queue to the commit.",
    bounds=_DISPATCH_BOUNDS,
)
ENDED_RUNS = Metric(
    "podwire_ended_runs_total",
    Kind.COUNTER,
    "Runs that have ended.",
    ("status", "reason"),
    (tuple(status.value for status in Status if status.final), tuple(reason.value for reason in Reason)),
)
TAKEOVERS = Metric(
    "podwire_takeovers_total", Kind.COUNTER, "Runs taken from a supervisor that had stopped renewing its lease: it died or hung."
)
REPAIRED = Metric(
    "podwire_repairs_total",
    Kind.COUNTER,
    "What the reconciler put right. Runs handed out again: `lease_expired` had lost their supervisor, `not_claimed` were never "
    "taken by one, `released` were given back by a worker that left. `orphan`: an attempt without a run was removed. "
    "`end_not_announced`: whoever ended a run did not live to tell its watchers.",
    ("kind",),
    (REPAIRS,),
)
REFUSALS = Metric(
    "podwire_refusals_total",
    Kind.COUNTER,
    "Requests and commands on streams that were refused, by the code of the answer.",
    ("code",),
    (refusal_codes(),),
)
PUBLISH_FAILURES = Metric(
    "podwire_publish_failures_total", Kind.COUNTER, "Times that the workers could not be told of a run; they are told again."
)
TICK_FAILURES = Metric(
    "podwire_tick_failures_total", Kind.COUNTER, "Rounds of periodic work that failed.", ("work",), (PERIODIC_WORK,)
)
ARTEFACTS = Metric(
    "podwire_artefacts_total",
    Kind.COUNTER,
    "Attempts whose artefacts were dealt with: `kept`, also where there were none, or `lost`.",
    ("state",),
    (("kept", "lost"),),
)
ARTEFACT_BYTES = Metric("podwire_artefact_bytes_total", Kind.COUNTER, "Bytes of artefacts that were kept.")
ARTEFACTS_REMOVED = Metric("podwire_artefacts_removed_total", Kind.COUNTER, "Runs whose artefacts were removed after their time.")
LOST_FOLDERS = Metric(
    "podwire_artefacts_unknown_total",
    Kind.COUNTER,
    "Old folders of runs in the storage that the database does not know of; they are left alone, and counted on every look.",
)
RUNS_REMOVED = Metric("podwire_runs_removed_total", Kind.COUNTER, "Ended runs that were removed after their time.")

METRICS = (
    QUEUE_DEPTH,
    OLDEST_WAIT,
    RUNS,
    PROCESSES,
    DRAINING,
    STREAMS,
    DEGRADED,
    SLOTS,
    SUPERVISED,
    QUEUE_WAIT,
    DISPATCH_TIME,
    ENDED_RUNS,
    TAKEOVERS,
    REPAIRED,
    REFUSALS,
    PUBLISH_FAILURES,
    TICK_FAILURES,
    ARTEFACTS,
    ARTEFACT_BYTES,
    ARTEFACTS_REMOVED,
    LOST_FOLDERS,
    RUNS_REMOVED,
)


def of_step(before: Run, after: Run) -> list[Increment]:
    """Return what a lifecycle step adds: the wait of a run that leaves the queue to be started, the end of one that ends."""
    if before.status is Status.QUEUED and after.status is Status.STARTING and after.dispatched_at is not None:
        return [QUEUE_WAIT.observe(after.dispatched_at - before.queued_at, before.priority.value)]
    if after.outcome is not None and after.status.final:
        return [ENDED_RUNS.count(after.status.value, after.outcome.reason.value)]
    return []
