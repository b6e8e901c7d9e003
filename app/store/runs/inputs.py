"""Lines that people send to a run's standard input: each kept once, in order, until the agent has it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from app.domain.errors import Conflict, LimitReached, NotFound, RunEnded
from app.domain.runs.run import Status
from app.store.engine import begin, db_now, reading
from app.store.runs.rows import digest
from app.store.schema.tables import inputs, runs

MAX_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Input:
    """One piece of input; `number` counts from 1 within the run, `eof` closes the input after it."""

    run_id: str
    number: int
    data: str
    eof: bool


_INPUT = (inputs.c.run_id, inputs.c.number, inputs.c.data, inputs.c.eof)

# The run that gets input. It is locked, so that numbers are given out one by one and its end waits.
RUN = select(runs.c.status, runs.c.stdin).where(runs.c.id == bindparam("run")).with_for_update()

# Input that arrived before under the same id.
EARLIER = select(*_INPUT).where(inputs.c.run_id == bindparam("run"), inputs.c.input_id == bindparam("input_id"))

# How much came so far: the last number, whether the end came, how much still waits.
SO_FAR = select(
    func.coalesce(func.max(inputs.c.number), 0).label("number"),
    func.count().filter(inputs.c.eof).label("ends"),
    func.count().filter(inputs.c.delivered_at.is_(None)).label("waiting"),
).where(inputs.c.run_id == bindparam("run"))

# One more piece of input.
INSERT = insert(inputs).values(created_at=db_now())

# What the agent does not have yet, in order.
UNDELIVERED = (
    select(*_INPUT)
    .where(inputs.c.run_id == bindparam("run"), inputs.c.delivered_at.is_(None))
    .order_by(inputs.c.number)
    .limit(100)
)

# The agent has it.
DELIVERED = (
    update(inputs)
    .where(inputs.c.run_id == bindparam("run"), inputs.c.number == bindparam("which"), inputs.c.delivered_at.is_(None))
    .values(delivered_at=db_now())
)


class InputStore:
    """Input for runs. Every method raises StoreUnavailable when the database cannot be reached."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def add(self, run_id: str, input_id: str, data: str, eof: bool = False) -> Input:
        """Keep the input for the agent; the same id again returns what was kept first.

        Raises: NotFound, RunEnded, Conflict (the run takes no input, or its input was closed), LimitReached.
        """
        key = digest(input_id)
        with begin(self._engine) as connection:
            run = connection.execute(RUN, {"run": run_id}).one_or_none()
            if run is None:
                raise NotFound()
            earlier = connection.execute(EARLIER, {"run": run_id, "input_id": key}).one_or_none()
            if earlier is not None:
                return _input(*earlier)
            number = _next_number(connection, run_id, Status(run.status), run.stdin)
            row = {"run_id": run_id, "number": number, "input_id": key, "data": json.dumps(data), "eof": eof}
            connection.execute(INSERT, row)
            return Input(run_id, number, data, eof)

    def undelivered(self, run_id: str) -> list[Input]:
        """Return what the agent has not acknowledged, in order, at most 100 pieces."""
        with reading(self._engine) as connection:
            return [_input(*row) for row in connection.execute(UNDELIVERED, {"run": run_id})]

    def delivered(self, run_id: str, number: int) -> None:
        """Note that the agent has the input."""
        with begin(self._engine) as connection:
            connection.execute(DELIVERED, {"run": run_id, "which": number})


def _next_number(connection: Connection, run_id: str, status: Status, stdin: bool) -> int:
    if status.final:
        raise RunEnded()
    if not stdin:
        raise Conflict("This run takes no input: it was submitted without stdin.")
    so_far = connection.execute(SO_FAR, {"run": run_id}).one()
    if so_far.ends:
        raise Conflict("This run's input was closed.")
    if so_far.waiting >= MAX_WAITING:
        raise LimitReached(
            f"{so_far.waiting} pieces of input wait for the run; the limit is {MAX_WAITING}.",
            limit=MAX_WAITING,
            current=so_far.waiting,
            retry_after_s=2,
        )
    return int(so_far.number) + 1


def _input(run_id: str, number: int, data: str, eof: bool) -> Input:
    return Input(run_id, number, json.loads(data), eof)
