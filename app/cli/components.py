"""The words that start each part of the service, and the commands that become one of them: web, worker, migrate, flower.

`podwire up` starts its children from the same words, and so does a deployment with a container for each part.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import uuid
from collections.abc import Sequence

from app.cli.errors import Stop
from app.cli.local import local_settings
from config.settings import Settings


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
    """Become a worker."""
    return _become(worker_words(), local_settings())


def flower(options: argparse.Namespace) -> int:
    """Become Flower."""
    if importlib.util.find_spec("flower") is None:
        raise Stop("Flower is not installed; install it with: pip install 'podwire[flower]'")
    print(f"podwire: Flower serves at http://{options.address}:{options.port}/", file=sys.stderr, flush=True)
    return _become(flower_words(options.address, options.port), local_settings())


def migrate(options: argparse.Namespace) -> int:
    """Bring the database to this version's tables."""
    from app.store.migrate import migrate as bring_up_to_date

    bring_up_to_date(local_settings().database_url)
    print("podwire: the database is up to date", file=sys.stderr)
    return 0


def _celery() -> list[str]:
    # Quiet: no banner among the lines of the log.
    return [sys.executable, "-m", "celery", "--quiet", "-A", "tasks.celery_app"]


def _become(words: Sequence[str], settings: Settings) -> int:
    # The settings go through the environment: arguments can be read by everyone on the machine.
    os.execve(words[0], list(words), {**os.environ, **settings.environment()})
