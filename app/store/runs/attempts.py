"""The attempts of runs: the launcher's handle and the evidence of the present one, what became of the former ones, and the step
to another: one transaction that ends an attempt, keeps what became of it, and queues the run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Engine, Text, bindparam, func, insert, select, update

from app.domain.errors import Fenced
from app.domain.runs import evidence as stored_evidence
from app.domain.runs.attempts import AttemptPart
from app.domain.runs.evidence import Evidence
from app.domain.runs.run import Outcome, Progress, Reason, Run, Status
from app.store.engine import begin, db_now, reading
from app.store.log.chunks import Chunk, insert_chunk
from app.store.queue.queue import GET
from app.store.runs import status_changes
from app.store.runs.questions import CLOSE_QUESTIONS
from app.store.runs.rows import AnyRow, run_of, storable
from app.store.schema.tables import IS_SUPERVISED, attempts, inputs, runs

AT_ONCE = 500

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

# Keep the launcher's handle of the present attempt.
SET_HANDLE = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED)
    .values(handle=bindparam("new_handle"), held_up=None, evidence=func.coalesce(bindparam("known", type_=Text), runs.c.evidence))
    .returning(*runs.c)
)

# Keep what the start of the present attempt waits for.
HOLD_UP = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), runs.c.status == Status.STARTING.value)
    .values(held_up=bindparam("why"))
)

# Keep what was learnt about the place of the present attempt, also after its end.
SET_EVIDENCE = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), runs.c.attempt == bindparam("of_attempt"))
    .values(evidence=bindparam("known"))
    .returning(*runs.c)
)

# What is known of it.
GET_EVIDENCE = select(runs.c.evidence).where(runs.c.id == bindparam("run"), runs.c.attempt == bindparam("of_attempt"))

# Add to it what came to light later, unless it has changed meanwhile.
ADD_EVIDENCE = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.attempt == bindparam("of_attempt"),
        runs.c.evidence.is_not_distinct_from(bindparam("before", type_=Text)),
    )
    .values(evidence=bindparam("known"))
)

# Every attempt that a launcher may have on its hands for a reason.
UNFINISHED = select(runs.c.id, runs.c.attempt).where(IS_SUPERVISED)

# How long ago each of these runs failed, and with which attempt.
FAILED_SINCE = select(runs.c.id, runs.c.attempt, (db_now() - runs.c.ended_at).label("since_s")).where(
    runs.c.id.in_(bindparam("ids", expanding=True)), runs.c.status == Status.FAILED.value
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

    def former(self, run_id: str) -> list[AttemptPart]:
        """Return the attempts before the present one, in order."""
        with reading(self._engine) as connection:
            return [_part(row) for row in connection.execute(FORMER, {"run": run_id})]

    def let_go(self, run_id: str, token: int, now: float) -> None:
        """Note that the present attempt's program gets the word to start; from then on it may have begun. Raises: Fenced."""
        with begin(self._engine) as connection:
            if connection.execute(LET_GO, {"run": run_id, "held": token, "now": now}).rowcount != 1:
                raise Fenced()

    def set_handle(self, run_id: str, token: int, handle: str, evidence: Evidence | None = None) -> Run:
        """Keep what the launcher returned, and what is known of the attempt by then. Raises: Fenced."""
        with begin(self._engine) as connection:
            known = stored_evidence.encode(evidence) if evidence else None
            values = {"run": run_id, "held": token, "new_handle": handle, "known": known}
            row = connection.execute(SET_HANDLE, values).one_or_none()
            if row is None:
                raise Fenced()
            return run_of(row)

    def hold_up(self, run: Run, why: str | None) -> None:
        """Keep what the start of the run waits for, under the token of the run; None for nothing. Raises: Fenced."""
        with begin(self._engine) as connection:
            values = {"run": run.id, "held": run.token, "why": storable(why) if why else None}
            if connection.execute(HOLD_UP, values).rowcount == 0:
                raise Fenced()

    def set_evidence(self, run: Run, evidence: Evidence) -> Run:
        """Keep what is known of the run's present attempt, under the token of the run. Raises: Fenced."""
        with begin(self._engine) as connection:
            values = {"run": run.id, "held": run.token, "of_attempt": run.attempt, "known": stored_evidence.encode(evidence)}
            row = connection.execute(SET_EVIDENCE, values).one_or_none()
            if row is None:
                raise Fenced()
            return run_of(row)

    def add_evidence(self, run_id: str, attempt: int, more: Mapping[str, object]) -> None:
        """Add facts about an attempt that has ended; those of a former attempt, and what is known already, change nothing."""
        with begin(self._engine) as connection:
            values: dict[str, object] = {"run": run_id, "of_attempt": attempt}
            row = connection.execute(GET_EVIDENCE, values).one_or_none()
            if row is not None:
                before = stored_evidence.decode(row.evidence, attempt)
                after = before.with_added(**more)
                if after != before:
                    connection.execute(ADD_EVIDENCE, {**values, "before": row.evidence, "known": stored_evidence.encode(after)})

    def unfinished(self) -> list[tuple[str, int]]:
        """Return the (run id, attempt) that launchers must keep."""
        with reading(self._engine) as connection:
            return [(row.id, row.attempt) for row in connection.execute(UNFINISHED)]

    def failed_since(self, attempts: Sequence[tuple[str, int]]) -> dict[tuple[str, int], float]:
        """Return, of those of the attempts that a run failed with, how many seconds ago that was."""
        found: dict[tuple[str, int], float] = {}
        with reading(self._engine) as connection:
            for start in range(0, len(attempts), AT_ONCE):
                ids = [run_id for run_id, _ in attempts[start : start + AT_ONCE]]
                rows = connection.execute(FAILED_SINCE, {"ids": ids})
                found |= {(row.id, row.attempt): row.since_s for row in rows}
        return {attempt: found[attempt] for attempt in attempts if attempt in found}


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
    row["evidence"] = stored_evidence.encode(part.evidence)
    del row["outcome"]
    return row


def _part(row: AnyRow) -> AttemptPart:
    values = {name: getattr(row, name) for name in AttemptPart.__dataclass_fields__ if name != "outcome"}
    values["evidence"] = stored_evidence.decode(row.evidence, row.number)
    outcome = {name: getattr(row, name) for name in Outcome.__dataclass_fields__}
    outcome |= {"status": Status(row.status), "reason": Reason(row.reason)}
    return AttemptPart(**values, outcome=Outcome(**outcome))
