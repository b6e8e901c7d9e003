"""Bringing a database to the tables of this version, by one process of however many start at once.

The migrations themselves are in `migrations/versions`; a released one never changes, and adds only, so that the former version
of the service can work on during an upgrade.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, func, select, text

from app.store.engine import begin, make_engine, reading

# Any number will do, as long as every process uses the same and nothing else in the database does.
_LOCK_NUMBER = 7_391_150_412

# Of several processes that migrate at once, the others wait here until the first has committed.
LOCK = select(func.pg_advisory_xact_lock(bindparam("number")))

# Waiting for that may take longer than a statement normally does.
NO_TIMEOUT = text("SET LOCAL statement_timeout = 0")


def migrate(url: str) -> None:
    """Bring the database to the newest migration, in one transaction: all or nothing. Idempotent, safe when run by many at once.

    Raises: StoreUnavailable.
    """
    engine = make_engine(url, pool_size=1, max_overflow=0)
    try:
        with begin(engine) as connection:
            # On SQLite `begin` itself is the lock: one writer at a time.
            if engine.dialect.name == "postgresql":
                connection.execute(NO_TIMEOUT)
                connection.execute(LOCK, {"number": _LOCK_NUMBER})
            _upgrade(connection)
    finally:
        engine.dispose()


def schema_is_current(engine: Engine) -> bool:
    """Say whether the database has had every migration that this version knows; a newer database counts too.

    Raises: StoreUnavailable.
    """
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    with reading(engine) as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    # A revision that this version does not know was made by a later one, and migrations only add.
    return present is not None and (present == scripts.get_current_head() or present not in known)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    scripts = ScriptDirectory.from_config(_config())
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
        # The former version starting again beside the new one: there is nothing for it to do.
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
