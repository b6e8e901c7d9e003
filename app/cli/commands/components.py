"""The words that start each part of the service, and the commands that become one of them: web, worker, migrate.

`podwire up` starts its children from the same words, and so does a deployment with a container for each part. Flower, which only
watches, is in watching.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Sequence

from app.cli.errors import Stop
from app.cli.local_settings import local_settings
from app.domain.errors import StoreUnavailable
from config.settings import Settings

# A worker touches its file every five seconds.
STALE_S = 30.0

# Between two looks at a database that somebody else migrates.
LOOK_S = 1.0


def web_words() -> list[str]:
    """Return the command of the web server."""
    return [sys.executable, "-m", "gunicorn", "--config", "python:config.gunicorn"]


def worker_words() -> list[str]:
    """Return the command of a worker; several may run on one machine, so each has a name of its own."""
    name = f"worker-{uuid.uuid4().hex[:8]}@%h"
    alone = ["--without-gossip", "--without-mingle"]
    return [*celery_words("tasks.celery_app"), "worker", "--hostname", name, *alone, "--loglevel", "INFO"]


def web(options: argparse.Namespace) -> int:
    """Become the web server."""
    return _become(web_words(), local_settings())


def worker(options: argparse.Namespace) -> int:
    """Become a worker, or look whether the one that runs here is alive."""
    if options.check:
        return _check(Settings.from_env())
    return _become(worker_words(), local_settings())


def _check(settings: Settings) -> int:
    """Say whether the worker's file was touched lately: 0 = yes, 1 = no."""
    if not settings.alive_file:
        raise Stop("PODWIRE_ALIVE_FILE is not set, so the worker writes no sign of life")
    try:
        age_s = time.time() - os.stat(settings.alive_file).st_mtime
    except OSError as error:
        print(f"podwire: no sign of life: {error}", file=sys.stderr)
        return 1
    print(f"podwire: the worker read the queue {age_s:.0f} s ago", file=sys.stderr)
    return 0 if age_s < STALE_S else 1


def migrate(options: argparse.Namespace) -> int:
    """Bring the database to this version's tables, or wait until another process has."""
    from app.store.schema.migrate import migrate as bring_up_to_date

    if options.wait is not None:
        return _wait_for_schema(local_settings().database_url, options.wait)
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


def celery_words(app: str) -> list[str]:
    """Return how a command of Celery begins. Quiet: no banner among the lines of the log."""
    return [sys.executable, "-m", "celery", "--quiet", "-A", app]


def _become(words: Sequence[str], settings: Settings) -> int:
    # The settings go through the environment: arguments can be read by everyone on the machine.
    os.execve(words[0], list(words), {**os.environ, **settings.environment()})
