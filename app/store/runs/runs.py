"""The runs: what is stored of them, how they are found, saved and ended. Each public method is one transaction.

Submitting, queueing, leasing and trying again are in modules of their own, beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, bindparam, func, select, update

from app.domain.audit import Action
from app.domain.errors import Fenced, NotFound
from app.domain.person import Person
from app.domain.runs.run import Priority, Progress, Run, Status
from app.store.engine import begin, db_now, reading
from app.store.log.chunks import Chunk, insert_chunk
from app.store.queue import audit
from app.store.queue.queue import GET
from app.store.runs import status_changes
from app.store.runs.questions import CLOSE_QUESTIONS
from app.store.runs.rows import changed, lifecycle_of, run_of, storable
from app.store.runs.run_secrets import wipe
from app.store.schema.tables import run_labels, runs

# Ask for the end of a run that has not ended; the first request stays.
REQUEST_CANCEL = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.ended_at.is_(None), runs.c.cancel_requested_at.is_(None))
    .values(cancel_requested_at=db_now(), cancelled_by=bindparam("by"))
    .returning(*runs.c)
)

# The ids of the runs with a label.
LABELLED = select(run_labels.c.run_id).where(
    run_labels.c.name == bindparam("label_name"), run_labels.c.value == bindparam("label_value")
)


class RunStore:
    """The rows of runs."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def get(self, run_id: str) -> Run | None:
        """Return the run, or None."""
        with reading(self._engine) as connection:
            row = connection.execute(GET, {"run": run_id}).one_or_none()
            return run_of(row) if row else None

    def list(
        self,
        owner_id: str | None,
        *,
        statuses: Sequence[Status] = (),
        label: tuple[str, str] | None = None,
        priority: Priority | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """Return the newest runs first: of one owner or, with None, of all; older than the sequence `before`."""
        found = select(*runs.c).order_by(runs.c.sequence.desc()).limit(limit)
        values: dict[str, object] = {}
        if owner_id is not None:
            found = found.where(runs.c.owner_id == owner_id)
        if statuses:
            found = found.where(runs.c.status.in_([status.value for status in statuses]))
        if priority is not None:
            found = found.where(func.coalesce(runs.c.front_of, runs.c.priority_order) == priority.order)
        if before is not None:
            found = found.where(runs.c.sequence < before)
        if label is not None:
            found = found.where(runs.c.id.in_(LABELLED))
            values = {"label_name": label[0], "label_value": storable(label[1])}
        with reading(self._engine) as connection:
            return [run_of(row) for row in connection.execute(found, values)]

    def save(self, before: Run, after: Run) -> Run:
        """Save a lifecycle step if the run still has the status and token of `before`; return it as it is stored.

        Saving the same step again is fine, so that a caller may retry after StoreUnavailable. Raises: Fenced.
        """
        try:
            with begin(self._engine) as connection:
                return status_changes.write(connection, before, after)
        except Fenced:
            stored = self.get(before.id)
            if stored is None or stored.token != before.token or not _holds(stored, before, after):
                raise
            return stored

    def finish(self, before: Run, after: Run, chunk: Chunk | None, progress: Progress) -> Run:
        """End a run, once: outcome, last chunk with the end event, questions closed, secrets wiped, place freed, lease given up.

        Raises: Fenced when the run has another status or token, or its archive does not end where the chunk begins.
        """
        columns = {
            "lease_owner": None,
            "lease_until": None,
            "archived_epoch": progress.epoch,
            "archived_seq": progress.seq,
            "archived_offset": progress.offset,
            "archived_spool": progress.spool,
        }
        follows = (runs.c.archived_seq == (chunk.first_seq - 1 if chunk else progress.seq),)
        with begin(self._engine) as connection:
            ended = status_changes.write(connection, before, after, columns, *follows)
            if chunk is not None:
                insert_chunk(connection, before.id, chunk)
            connection.execute(CLOSE_QUESTIONS, {"run": before.id})
            if before.spec.secrets:
                wipe(connection, before.id)
            return ended

    def request_cancel(self, run_id: str, by: Person) -> Run:
        """Note who asks for the run's end; asking again, or after the end, changes nothing. Raises: NotFound."""
        with begin(self._engine) as connection:
            row = connection.execute(REQUEST_CANCEL, {"run": run_id, "by": storable(by.name)}).one_or_none()
            if row is not None:
                audit.note(connection, by, Action.CANCEL, run_id, row.status)
            else:
                row = connection.execute(GET, {"run": run_id}).one_or_none()
        if row is None:
            raise NotFound()
        return run_of(row)


def _holds(stored: Run, before: Run, after: Run) -> bool:
    columns = lifecycle_of(stored)
    return all(columns.get(name) == value for name, value in changed(before, after).items())
