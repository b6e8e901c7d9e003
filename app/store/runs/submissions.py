"""The way in: one transaction that checks the limits, counts the run and inserts it as queued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Engine, bindparam, insert, select

from app.domain.errors import IdempotencyMismatch
from app.domain.person import Person
from app.domain.queue.admission import Limits, admit, has_room
from app.domain.runs.run import Priority, Run, Status
from app.domain.runs.spec import RunSpec
from app.store.engine import begin, db_now
from app.store.queue import counts, lanes
from app.store.runs.rows import digest, labels_of, run_of, spec_text, storable
from app.store.runs.run_secrets import keep
from app.store.schema.tables import run_labels, runs

# A new run at the end of its band of the queue. Its sequence is given out under the lock of the row `all`.
INSERT = (
    insert(runs)
    .values(
        id=bindparam("id"),
        owner_id=bindparam("owner_id"),
        owner_name=bindparam("owner_name"),
        priority_order=bindparam("priority_order"),
        status=Status.QUEUED.value,
        stdin=bindparam("stdin"),
        created_at=db_now(),
        queue_deadline_at=db_now() + bindparam("queue_timeout_s"),
        label_class=bindparam("label_class"),
        traceparent=bindparam("traceparent"),
        idempotency_key=bindparam("idempotency_key"),
        request_hash=bindparam("request_hash"),
        spec=bindparam("spec"),
    )
    .returning(
        runs.c.sequence,
        runs.c.created_at,
        runs.c.queue_deadline_at,
        runs.c.owner_id,
        runs.c.priority_order,
        runs.c.label_class,
    )
)

# The same on PostgreSQL, with its place in its lane: one round trip less while all others wait.
_new = INSERT.cte("new")
INSERT_AND_JOIN = select(_new).add_cte(lanes.join_from(_new))

# The run that an owner submitted under an idempotency key.
EARLIER = select(*runs.c).where(
    runs.c.owner_id == bindparam("owner_id"),
    runs.c.idempotency_key == bindparam("idempotency_key"),
    runs.c.idempotency_key.is_not(None),
)

# The copy of a run's labels that lists are searched by.
LABEL = insert(run_labels)


class Entered(NamedTuple):
    """A run that was taken in; `created` is False when an earlier request with its key had made it.

    `may_start` is False when every place was taken, or the queue paused, while this was known for sure: under the lock that also
    whoever frees a place takes. They come after this run, and start it or another.
    """

    run: Run
    created: bool
    may_start: bool = True


class Submissions:
    """Accepts runs."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def submit(
        self,
        run_id: str,
        owner: Person,
        spec: RunSpec,
        priority: Priority,
        limits: Limits,
        *,
        secrets: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        request_hash: str | None = None,
        traceparent: str | None = None,
    ) -> Entered:
        """Queue a run within the limits, or return the earlier run of the same key and request, which is not created.

        `secrets` are the values of the names in `spec.secrets`.
        Raises: LimitReached, QueueFull, IdempotencyMismatch, StoreUnavailable; nothing is kept then.
        """
        key = digest(idempotency_key) if idempotency_key is not None else None
        with begin(self._engine) as connection:
            # The counts come first: their locks also keep two requests with one key apart.
            entry = counts.enqueue(connection, owner.id, spec.labels, limits)
            if key is not None and (earlier := _earlier(connection, owner, key, request_hash)):
                connection.rollback()
                return Entered(earlier, False)
            admit(entry.limits, entry.owner, entry.everyone, entry.group, entry.labels)
            columns = {
                "label_class": entry.label_class,
                "idempotency_key": key,
                "request_hash": request_hash,
                "traceparent": traceparent,
            }
            run = _insert(connection, run_id, owner, spec, priority, columns)
            keep(connection, run_id, secrets or {})
            return Entered(run, True, has_room(entry.limits, entry.everyone))


def _earlier(connection: Connection, owner: Person, key: str, request_hash: str | None) -> Run | None:
    row = connection.execute(EARLIER, {"owner_id": owner.id, "idempotency_key": key}).one_or_none()
    if row is not None and row.request_hash != request_hash:
        raise IdempotencyMismatch()
    return run_of(row) if row is not None else None


def _insert(
    connection: Connection,
    run_id: str,
    owner: Person,
    spec: RunSpec,
    priority: Priority,
    more: Mapping[str, str | None],
) -> Run:
    columns: dict[str, object] = {
        **more,
        "id": run_id,
        "owner_id": owner.id,
        "owner_name": storable(owner.name),
        "priority_order": priority.order,
        "stdin": spec.stdin,
        "queue_timeout_s": spec.queue_timeout_s,
        "spec": spec_text(spec),
    }
    if connection.dialect.name == "postgresql":
        row = connection.execute(INSERT_AND_JOIN, columns).one()
    else:
        row = connection.execute(INSERT, columns).one()
        lanes.join(connection, row)
    run = Run(
        id=run_id,
        sequence=row.sequence,
        owner_id=owner.id,
        owner_name=storable(owner.name),
        spec=spec,
        priority=priority,
        status=Status.QUEUED,
        created_at=row.created_at,
        queue_deadline_at=row.queue_deadline_at,
        traceparent=more["traceparent"],
    )
    if labels := labels_of(run):
        connection.execute(LABEL, labels)
    return run
