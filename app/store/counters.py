"""The numbers behind `/metrics`: counts that outlive processes, what each process says of itself, how long the queue is.

A fact that SQL knows is counted in the transaction that makes it so (`add`): exactly once, whoever dies. What only a process
knows (a refusal, a failed round) is noted in memory and written every second or so: a crash loses at most that, and a commit
whose answer was lost counts it twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.errors import PodwireError
from app.domain.metrics import Increment
from app.domain.runs.run import Priority
from app.store.engine import begin, db_now, reading
from app.store.schema.tables import IS_QUEUED, metric_counts, process_gauges, runs

logger = logging.getLogger(__name__)

FLUSH_S = 1.0
# A process says every few seconds that it lives, and sooner when something has changed.
REPORT_S = 5.0
ALIVE_S = 20.0
_SEPARATOR = "|"

# One more, or some more, of a count; a row is made with its first. The same SQL on both databases.
_add = insert(metric_counts).values(
    name=bindparam("name"), labels=bindparam("labels"), le=bindparam("le"), value=bindparam("value"), total=bindparam("total")
)
ADD = _add.on_conflict_do_update(
    index_elements=[metric_counts.c.name, metric_counts.c.labels, metric_counts.c.le],
    set_={"value": metric_counts.c.value + _add.excluded.value, "total": metric_counts.c.total + _add.excluded.total},
)

# Every count.
COUNTS = select(metric_counts)

# What a process says of itself, good for some seconds.
_report = insert(process_gauges).values(
    process_id=bindparam("process"), name=bindparam("name"), value=bindparam("value"), until=db_now() + ALIVE_S
)
REPORT = _report.on_conflict_do_update(
    index_elements=[process_gauges.c.process_id, process_gauges.c.name],
    set_={"value": _report.excluded.value, "until": _report.excluded.until},
)

# The sums over the processes that live.
GAUGES = (
    select(process_gauges.c.name, func.sum(process_gauges.c.value).label("value"))
    .where(process_gauges.c.until > db_now())
    .group_by(process_gauges.c.name)
)

# A process that leaves, and those that died, say nothing more.
FORGET = delete(process_gauges).where(
    (process_gauges.c.process_id == bindparam("process")) | (process_gauges.c.until < db_now() - 10 * ALIVE_S)
)

# How many runs are queued in each band and since when the oldest of them waits, by one pass over the index of the queue.
_BANDS = (
    select(runs.c.priority_order, func.count().label("depth"), func.min(runs.c.sequence).label("first"))
    .where(IS_QUEUED)
    .group_by(runs.c.priority_order)
    .subquery()
)
BACKLOG = select(_BANDS.c.priority_order, _BANDS.c.depth, (db_now() - runs.c.created_at).label("age_s")).join(
    runs, runs.c.sequence == _BANDS.c.first
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many runs are queued with one priority, and how long the oldest of them has waited, in seconds."""

    depth: int = 0
    age_s: float = 0.0


def add(connection: Connection, increments: Iterable[Increment]) -> None:
    """Count within the transaction. Counts are locked in one order, after everything else that the transaction locks."""
    rows = [
        {
            "name": one.name,
            "labels": _SEPARATOR.join(one.labels),
            "le": one.le,
            "value": one.value,
            "total": one.total,
        }
        for one in sorted(increments, key=lambda one: (one.name, one.labels, one.le))
    ]
    for row in rows:
        connection.execute(ADD, row)


class Counters:
    """The counts of one process. Thread-safe; one thread calls `keep`."""

    def __init__(self, engine: Engine, process_id: str) -> None:
        """Begin with nothing noted."""
        self._engine, self._process_id = engine, process_id
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, tuple[str, ...], str], Increment] = {}
        self._reported: Mapping[str, float] = {}
        self._rounds = 0
        self._left = False

    def note(self, increment: Increment) -> None:
        """Count what only this process knows. Touches memory only; never fails."""
        key = (increment.name, increment.labels, increment.le)
        with self._lock:
            known = self._noted.get(key)
            self._noted[key] = _sum(known, increment) if known else increment

    def flush(self) -> None:
        """Write what was noted. Raises: StoreUnavailable, and then it is kept for the next time."""
        with self._lock:
            noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            with begin(self._engine) as connection:
                add(connection, noted.values())
        except BaseException:
            for increment in noted.values():
                self.note(increment)
            raise

    def report(self, gauges: Mapping[str, float]) -> None:
        """Write what this process says of itself, if it has changed or was said long ago. Raises: StoreUnavailable."""
        self._rounds += 1
        if self._left or (gauges == self._reported and self._rounds * FLUSH_S < REPORT_S):
            return
        with begin(self._engine) as connection:
            for name in sorted(gauges):
                connection.execute(REPORT, {"process": self._process_id, "name": name, "value": gauges[name]})
        self._reported, self._rounds = dict(gauges), 0

    def leave(self) -> None:
        """Write what is left and withdraw what this process said of itself. Raises: StoreUnavailable."""
        self._left = True
        self.flush()
        with begin(self._engine) as connection:
            connection.execute(FORGET, {"process": self._process_id})

    def keep(self, gauges: Callable[[], Mapping[str, float]], stop: threading.Event) -> None:
        """Flush and report until `stop`, then leave. Logs and survives a database that cannot be reached."""
        while not stop.wait(FLUSH_S):
            self._survive(lambda: self._round(gauges()))
        self._survive(self.leave)

    def counts(self) -> list[Increment]:
        """Return every stored count."""
        with reading(self._engine) as connection:
            return [_increment(*row) for row in connection.execute(COUNTS)]

    def gauges(self) -> dict[str, float]:
        """Return what the living processes say of themselves, added up."""
        with reading(self._engine) as connection:
            return {row.name: row.value for row in connection.execute(GAUGES)}

    def backlog(self) -> dict[Priority, Backlog]:
        """Return the state of the queue by priority."""
        with reading(self._engine) as connection:
            rows: dict[int, Backlog] = {}
            for row in connection.execute(BACKLOG):
                # What was moved to the front counts as critical.
                band, before = max(row.priority_order, 0), rows.get(max(row.priority_order, 0), Backlog())
                rows[band] = Backlog(before.depth + row.depth, max(before.age_s, row.age_s))
        return {priority: rows.get(priority.order, Backlog()) for priority in Priority}

    def _round(self, gauges: Mapping[str, float]) -> None:
        self.flush()
        self.report(gauges)

    def _survive(self, work: Callable[[], object]) -> None:
        try:
            work()
        except PodwireError as error:
            logger.warning("counts not written yet: %s", error)
        except Exception:  # a process loop: whatever it is, the next round must come
            logger.exception("counts not written")


def _sum(one: Increment, other: Increment) -> Increment:
    return Increment(one.name, one.labels, one.le, one.value + other.value, one.total + other.total)


def _increment(name: str, labels: str, le: str, value: int, total: float) -> Increment:
    return Increment(name, tuple(labels.split(_SEPARATOR)) if labels else (), le, value, total)
