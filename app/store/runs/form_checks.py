"""Which records of running code hold forms whose check began, who began it, and what it refused.

A record is noted here before it is checked. A process that is killed by the check leaves its note, and whoever takes the run over
counts it: against this record alone, so that kills from outside end no run. What was checked and found good leaves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, bindparam, delete, func, insert, select, update

from app.domain.errors import Fenced
from app.store.engine import begin, reading
from app.store.schema.tables import IS_SUPERVISED, form_checks, runs

_RECORD = (
    form_checks.c.run_id == bindparam("run"),
    form_checks.c.attempt == bindparam("which"),
    form_checks.c.position == bindparam("at"),
)

# The run whose form it is, if the token holds. It is locked, so that notes are made one by one.
CHECKED_RUN = (
    select(runs.c.id).where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED).with_for_update()
)

# What is known of the record.
GET = select(form_checks.c.token, form_checks.c.kills, form_checks.c.refusal).where(*_RECORD)

# The first note of the record.
INSERT = insert(form_checks)

# The record again: by which claim it is being checked, and how many were gone before they were done.
AGAIN = update(form_checks).where(*_RECORD).values(token=bindparam("by"), kills=bindparam("gone"))

# What the asker is told, whoever reads the record again.
REFUSE = update(form_checks).where(*_RECORD).values(refusal=bindparam("said"))

# How many of an attempt's records were refused with these words in it.
COUNT = select(func.count()).where(
    form_checks.c.run_id == bindparam("run"),
    form_checks.c.attempt == bindparam("which"),
    form_checks.c.refusal.contains(bindparam("words"), autoescape=False),
)

# The check was not begun after all: this claim will not count.
PUT_OFF = update(form_checks).where(*_RECORD, form_checks.c.token == bindparam("by")).values(token=0)

# The form was found good.
FORGET = delete(form_checks).where(*_RECORD)


@dataclass(frozen=True, slots=True)
class FormCheck:
    """What is known of a record: how many claims were gone before they were done, and what was refused."""

    kills: int = 0
    refusal: str | None = None


class FormChecks:
    """The notes. Every method raises StoreUnavailable when the database cannot be reached."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def note(self, run_id: str, token: int, attempt: int, position: int) -> FormCheck:
        """Note that the claim with this token is about to check the record. Again by the same claim changes nothing.

        Raises: Fenced when the token is not the run's any more.
        """
        record = {"run": run_id, "which": attempt, "at": position}
        with begin(self._engine) as connection:
            if connection.execute(CHECKED_RUN, {"run": run_id, "held": token}).one_or_none() is None:
                raise Fenced()
            kept = connection.execute(GET, record).one_or_none()
            if kept is None:
                row = {"run_id": run_id, "attempt": attempt, "position": position, "token": token, "kills": 0}
                connection.execute(INSERT, row)
                return FormCheck()
            if kept.refusal is not None:
                return FormCheck(kept.kills, kept.refusal)
            kills = kept.kills + (kept.token not in (0, token))
            connection.execute(AGAIN, {**record, "by": token, "gone": kills})
            return FormCheck(kills)

    def refuse(self, run_id: str, attempt: int, position: int, refusal: str) -> None:
        """Keep what the asker is told. Idempotent."""
        self._change(REFUSE, run_id, attempt, position, said=refusal)

    def refused(self, run_id: str, attempt: int, words: str) -> int:
        """Return how many of the attempt's records were refused with a refusal that holds the words."""
        with reading(self._engine) as connection:
            return int(connection.execute(COUNT, {"run": run_id, "which": attempt, "words": words}).scalar_one())

    def put_off(self, run_id: str, token: int, attempt: int, position: int) -> None:
        """Note that the claim did not begin the check, so that it does not count when it ends. Idempotent."""
        self._change(PUT_OFF, run_id, attempt, position, by=token)

    def forget(self, run_id: str, attempt: int, position: int) -> None:
        """Drop the note of a form that is good. Idempotent."""
        self._change(FORGET, run_id, attempt, position)

    def _change(self, statement: object, run_id: str, attempt: int, position: int, **values: object) -> None:
        with begin(self._engine) as connection:
            connection.execute(statement, {"run": run_id, "which": attempt, "at": position, **values})  # type: ignore[call-overload]
