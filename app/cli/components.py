"""The words that start each part of the service, and the commands that become one of them: web, worker, migrate, flower.

`podwire up` starts its children from the same words, and so does a deployment with a container for each part.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
import uuid
from collections.abc import Sequence

from app.cli.errors import Stop
from app.cli.local import local_settings
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
    return [*_celery(), "worker", "--hostname", name, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]


def flower_words(address: str, port: int) -> list[str]:
    """Return the command of Flower, which only looks: nothing can be changed through it."""
    return [*_celery(), "flower", f"--address={address}", f"--port={port}", "--enable-events=True"]


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


def flower(options: argparse.Namespace) -> int:
    """Become Flower."""
    if importlib.util.find_spec("flower") is None:
        raise Stop("Flower is not installed; install it with: pip install 'podwire[flower]'")
    print(f"podwire: Flower serves at http://{options.address}:{options.port}/", file=sys.stderr, flush=True)
    return _become(flower_words(options.address, options.port), local_settings())


def migrate(options: argparse.Namespace) -> int:
    """Bring the database to this version's tables, or wait until another process has."""
    from app.store.migrate import migrate as bring_up_to_date

    if options.wait is not None:
        return _wait_for_schema(local_settings().database_url, options.wait)
    bring_up_to_date(local_settings().database_url)
    print("podwire: the database is up to date", file=sys.stderr)
    return 0


def _wait_for_schema(url: str, within_s: float) -> int:
    """Wait until the database has this version's tables: 0 = it has, 1 = not in time, whether it answers or not."""
    from app.store.engine import make_engine
    from app.store.migrate import schema_is_current

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


def _celery() -> list[str]:
    # Quiet: no banner among the lines of the log.
    return [sys.executable, "-m", "celery", "--quiet", "-A", "tasks.celery_app"]


def _become(words: Sequence[str], settings: Settings) -> int:
    # The settings go through the environment: arguments can be read by everyone on the machine.
    os.execve(words[0], list(words), {**os.environ, **settings.environment()})
