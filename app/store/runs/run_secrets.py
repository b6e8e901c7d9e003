"""The values of secret environment variables: beside the runs, never in a spec, and only until the run has ended.

They are kept as they are: the standard library has no cipher, a package for this alone would be one more thing to trust, and a
cipher of one's own is worse than none. Who can read the database can read the secrets of runs that have not ended, and no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select

from app.store.engine import reading
from app.store.schema.tables import run_secrets

# A value, as JSON in ASCII, so that no text of a user can trouble a database.
KEEP = insert(run_secrets)

# The values of a run that has not ended.
VALUES = select(run_secrets.c.name, run_secrets.c.value).where(run_secrets.c.run_id == bindparam("run"))

# Forget the values of a run.
WIPE = delete(run_secrets).where(run_secrets.c.run_id == bindparam("run"))


def keep(connection: Connection, run_id: str, values: Mapping[str, str]) -> None:
    """Store the values with the run, in its transaction."""
    if values:
        connection.execute(KEEP, [{"run_id": run_id, "name": name, "value": json.dumps(value)} for name, value in values.items()])


def wipe(connection: Connection, run_id: str) -> None:
    """Forget the run's values, in the transaction that ends it."""
    connection.execute(WIPE, {"run": run_id})


class RunSecrets:
    """The secrets of runs."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def of_run(self, run_id: str) -> dict[str, str]:
        """Return the values of the run's secret environment by name; none once it has ended."""
        with reading(self._engine) as connection:
            return {row.name: json.loads(row.value) for row in connection.execute(VALUES, {"run": run_id})}
