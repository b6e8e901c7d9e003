"""What `/metrics` says: every metric of the table with its present numbers, read from the store and so the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.domain import metrics as table
from app.domain.metrics import INFINITE, METRICS, Increment, Kind, Metric
from app.service.services import Services

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One number: what is appended to the metric's name, the label values, the bucket's upper bound if it is one."""

    suffix: str
    labels: Labels
    le: str
    value: float


def collect(services: Services) -> list[tuple[Metric, list[Sample]]]:
    """Return every metric with its samples, none of them negative. Raises: StoreUnavailable."""
    counts = _by_metric(services.store.counters.counts())
    gauges = _gauges(services)
    return [(metric, _samples(metric, counts.get(metric.name, []), gauges)) for metric in METRICS]


def _samples(metric: Metric, counts: list[Increment], gauges: Mapping[str, float]) -> list[Sample]:
    if metric.kind is Kind.GAUGE:
        return [Sample("", labels, "", max(0.0, gauges.get(metric.key(*labels), 0.0))) for labels in metric.series()]
    by_labels: dict[Labels, list[Increment]] = {labels: [] for labels in metric.series()}
    for count in counts:
        by_labels.setdefault(metric.known(count.labels), []).append(count)
    if metric.kind is Kind.COUNTER:
        return [Sample("", labels, "", sum(one.value for one in some)) for labels, some in by_labels.items()]
    return [sample for labels, some in by_labels.items() for sample in _histogram(metric, labels, some)]


def _histogram(metric: Metric, labels: Labels, counts: list[Increment]) -> list[Sample]:
    # By size, not by name: a bucket that an earlier version had counts in the next larger one of this version.
    buckets = [
        Sample("_bucket", labels, f"{bound:g}", sum(one.value for one in counts if float(one.le) <= bound))
        for bound in metric.bounds
    ]
    number = sum(one.value for one in counts)
    return [
        *buckets,
        Sample("_bucket", labels, INFINITE, number),
        Sample("_sum", labels, "", sum(one.total for one in counts)),
        Sample("_count", labels, "", number),
    ]


def _gauges(services: Services) -> dict[str, float]:
    _, everyone = services.store.counts.of_owner("")
    values = services.store.counters.gauges()
    values |= {table.RUNS.key("active"): everyone.active, table.RUNS.key("waiting"): everyone.waiting}
    for priority, backlog in services.store.counters.backlog().items():
        values |= {table.QUEUE_DEPTH.key(priority): backlog.depth, table.OLDEST_WAIT.key(priority): backlog.age_s}
    return values


def _by_metric(counts: Iterable[Increment]) -> dict[str, list[Increment]]:
    found: dict[str, list[Increment]] = {}
    for count in counts:
        found.setdefault(count.name, []).append(count)
    return found
