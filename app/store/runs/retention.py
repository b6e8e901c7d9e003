"""The end of what is stored of a run: once it ended long ago it goes, with everything that belongs to it."""

from __future__ import annotations

from sqlalchemy import Engine, bindparam, delete, exists, select

from app.domain.metrics import RUNS_REMOVED
from app.store import counters
from app.store.artefacts.artefacts import IN_STORAGE
from app.store.engine import begin, db_now, reading
from app.store.schema.tables import artefacts, runs

# Files in the storage go first: without these rows nobody would know whose they are.
_HAS_FILES = exists().where(artefacts.c.run_id == runs.c.id, IN_STORAGE)
_OLDEST = (
    select(runs.c.id)
    .where(runs.c.ended_at < db_now() - bindparam("keep_s"), ~_HAS_FILES)
    .order_by(runs.c.ended_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)

# Remove the run that ended first of those that ended long enough ago; all that refers to it goes with it.
REMOVE = delete(runs).where(runs.c.id == _OLDEST.scalar_subquery()).returning(runs.c.id)

EXISTS = select(runs.c.sequence).where(runs.c.id == bindparam("run"))


class Retention:
    """The removal of what ended long ago."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def remove_oldest(self, keep_s: float) -> str | None:
        """Remove the run that ended first, if it ended more than `keep_s` seconds ago; return its id, or None.

        A run whose artefacts are still in the storage is passed over. One run is one transaction.
        """
        with begin(self._engine) as connection:
            removed: str | None = connection.execute(REMOVE, {"keep_s": keep_s}).scalar_one_or_none()
            if removed is not None:
                counters.add(connection, [RUNS_REMOVED.count()])
            return removed

    def exists(self, run_id: str) -> bool:
        """Say whether there is such a run."""
        with reading(self._engine) as connection:
            return connection.execute(EXISTS, {"run": run_id}).one_or_none() is not None
