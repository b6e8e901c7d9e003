"""Whose turn it is at periodic work: over all processes, each kind is done at most once in its time."""

from __future__ import annotations

from sqlalchemy import Engine, bindparam
from sqlalchemy.dialects.postgresql import insert

from app.store.engine import begin, db_now
from app.store.schema.tables import ticks

# Take the turn at some periodic work when the last one is over. The same SQL on both databases.
_turn = insert(ticks).values(name=bindparam("tick"), owner=bindparam("process"), until=db_now() + bindparam("every_s"))
TAKE_TURN = _turn.on_conflict_do_update(
    index_elements=[ticks.c.name],
    set_={"owner": _turn.excluded.owner, "until": _turn.excluded.until},
    where=ticks.c.until <= db_now(),
).returning(ticks.c.name)


class Ticks:
    """The turns."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def acquire(self, name: str, process_id: str, every_s: float) -> bool:
        """Say whether it is this process's turn at some periodic work: over all processes at most one per `every_s`."""
        with begin(self._engine) as connection:
            turn = {"tick": name, "process": process_id, "every_s": every_s}
            return connection.execute(TAKE_TURN, turn).one_or_none() is not None
