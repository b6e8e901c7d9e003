"""Another attempt of a run: one transaction that ends the former one, keeps what became of it, and queues the run again."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from app.domain.errors import Fenced
from app.domain.runs import evidence
from app.domain.runs.attempts import AttemptPart
from app.domain.runs.run import Outcome, Progress, Reason, Run, Status
from app.store.engine import begin, reading
from app.store.log.chunks import Chunk, insert_chunk
from app.store.queue.queue import GET
from app.store.runs import status_changes
from app.store.runs.questions import CLOSE_QUESTIONS
from app.store.runs.rows import AnyRow, run_of, storable
from app.store.schema.tables import IS_SUPERVISED, attempts, inputs, runs

# One more former attempt.
INSERT = insert(attempts)

# All of them, in order.
FORMER = select(*attempts.c).where(attempts.c.run_id == bindparam("run")).order_by(attempts.c.number)

# The new attempt reads the input from its beginning, as the former one did.
INPUT_AGAIN = update(inputs).where(inputs.c.run_id == bindparam("run")).values(delivered_at=None)

# Note that the program gets the word to start, or got it before.
LET_GO = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED)
    .values(let_go_at=func.coalesce(runs.c.let_go_at, bindparam("now")))
)


class Attempts:
    """The attempts of runs."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def retry(self, before: Run, after: Run, part: AttemptPart, chunk: Chunk, progress: Progress) -> Run | None:
        """End the attempt, which became `part`, and queue the next one, once: the last chunk of its log, questions closed, input
        to be read again, lease given up. None when somebody has asked for the run's end: then it must end.

        Doing the same again is fine, so that a caller may retry after StoreUnavailable. Raises: Fenced when the run has another
        status or token, or its archive does not end where the chunk begins.
        """
        try:
            with begin(self._engine) as connection:
                return _retry(connection, before, after, part, chunk, progress)
        except Fenced:
            with reading(self._engine) as connection:
                row = connection.execute(GET, {"run": before.id}).one_or_none()
            if row is not None and row.attempt == after.attempt and row.token >= after.token:
                return run_of(row)
            if row is not None and row.token == before.token and row.cancel_requested_at is not None:
                return None
            raise

    def former_attempts(self, run_id: str) -> list[AttemptPart]:
        """Return the attempts before the present one, in order."""
        with reading(self._engine) as connection:
            return [_part(row) for row in connection.execute(FORMER, {"run": run_id})]

    def let_go(self, run_id: str, token: int, now: float) -> None:
        """Note that the present attempt's program gets the word to start; from then on it may have begun. Raises: Fenced."""
        with begin(self._engine) as connection:
            if connection.execute(LET_GO, {"run": run_id, "held": token, "now": now}).rowcount != 1:
                raise Fenced()


def _retry(connection: Connection, before: Run, after: Run, part: AttemptPart, chunk: Chunk, progress: Progress) -> Run:
    outcome = part.outcome
    if outcome is None:
        raise ValueError("an attempt without an outcome has not ended")
    columns = {
        "token": after.token,
        "lease_owner": None,
        "lease_until": None,
        "archived_epoch": progress.epoch,
        "archived_seq": progress.seq,
        "archived_offset": progress.offset,
        # The agent of the new attempt writes a spool of its own.
        "archived_spool": 0,
    }
    conditions = (runs.c.archived_seq == chunk.first_seq - 1, runs.c.cancel_requested_at.is_(None))
    queued = status_changes.write(connection, before, after, columns, *conditions)
    insert_chunk(connection, before.id, chunk)
    connection.execute(INSERT, _row(before.id, part, outcome))
    connection.execute(CLOSE_QUESTIONS, {"run": before.id})
    connection.execute(INPUT_AGAIN, {"run": before.id})
    return queued


def _row(run_id: str, part: AttemptPart, outcome: Outcome) -> dict[str, object]:
    row = {"run_id": run_id, **asdict(part), **asdict(outcome), "message": storable(outcome.message)}
    row["evidence"] = evidence.encode(part.evidence)
    del row["outcome"]
    return row


def _part(row: AnyRow) -> AttemptPart:
    values = {name: getattr(row, name) for name in AttemptPart.__dataclass_fields__ if name != "outcome"}
    values["evidence"] = evidence.decode(row.evidence, row.number)
    outcome = {name: getattr(row, name) for name in Outcome.__dataclass_fields__}
    outcome |= {"status": Status(row.status), "reason": Reason(row.reason)}
    return AttemptPart(**values, outcome=Outcome(**outcome))
