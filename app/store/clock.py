"""The database's clock: the one by which all processes judge what is late."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, select

from app.store.engine import db_now, reading

NOW = select(db_now())


def now(connection: Connection) -> float:
    """Return the time within the transaction."""
    return connection.execute(NOW).scalar_one()


class Clock:
    """The clock. To ask it is also to ask whether the database is there."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def now(self) -> float:
        """Return the database's time, in seconds."""
        with reading(self._engine) as connection:
            return now(connection)
