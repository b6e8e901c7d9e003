"""The only writer of a run's status: saves what lifecycle.transition returned by compare-and-set, with counts and lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, update

from app.domain.errors import Fenced
from app.domain.metrics import of_step
from app.domain.runs.run import Run, Status
from app.store import counters
from app.store.queue import counts, lanes
from app.store.runs.rows import changed, run_of
from app.store.schema.tables import runs


def write(
    connection: Connection,
    before: Run,
    after: Run,
    more: Mapping[str, object] | None = None,
    *conditions: ColumnElement[bool],
    scopes: Sequence[str] | None = None,
) -> Run:
    """Save the step from `before` to `after` and the columns `more`, if status and token are still those of `before`.

    Only the columns that the step changed are written, so an older copy of the run overwrites nobody's work.
    `scopes` are those that the run counts in, from a caller that holds the lock of all.
    Raises: Fenced, and the whole transaction must be given up.
    """
    columns = {**changed(before, after), **(more or {})}
    with counts.moving(connection, before, after, scopes):
        if after.status is Status.QUEUED:
            columns["label_class"] = counts.label_class(connection, before.spec.labels)
        statement = (
            update(runs)
            .where(
                runs.c.id == before.id,
                runs.c.status == before.status.value,
                runs.c.token == before.token,
                *conditions,
            )
            .values(columns)
            .returning(*runs.c)
        )
        row = connection.execute(statement).one_or_none()
        if row is None:
            raise Fenced()
    lanes.moved(connection, before.status, row)
    counters.add(connection, of_step(before, after))
    return run_of(row)
