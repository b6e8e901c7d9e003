"""`podwire migrate`: bring the database to this version's tables, or wait until another process has."""

from __future__ import annotations

import sys
import time

from app.cli.grammar import command, option
from app.cli.local_settings import local_settings
from app.domain.errors import StoreUnavailable

# Between two looks at a database that somebody else migrates.
LOOK_S = 1.0


@command("migrate")
@option("--wait", type=float, metavar="SECONDS", help="change nothing: wait so long for another to do it")
def migrate(wait: float | None) -> int:
    """Bring the database to this version."""
    from app.store.schema.migrate import migrate as bring_up_to_date

    if wait is not None:
        return _wait_for_schema(local_settings().database_url, wait)
    bring_up_to_date(local_settings().database_url)
    print("podwire: the database is up to date", file=sys.stderr)
    return 0


def _wait_for_schema(url: str, within_s: float) -> int:
    """Wait until the database has this version's tables: 0 = it has, 1 = not in time, whether it answers or not."""
    from app.store.engine import make_engine
    from app.store.schema.migrate import schema_is_current

    deadline = time.monotonic() + within_s
    engine = make_engine(url, pool_size=1, max_overflow=0)
    try:
        while True:
            try:
                if schema_is_current(engine):
                    return 0
                why = "the database has not been migrated to this version"
            except StoreUnavailable as error:
                why = str(error)
            if time.monotonic() >= deadline:
                print(f"podwire: {why}", file=sys.stderr)
                return 1
            time.sleep(min(LOOK_S, within_s))
    finally:
        engine.dispose()
