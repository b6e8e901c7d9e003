"""The words that start each part of the service, for `podwire up`, which starts children from them, and for each part alone."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence
from typing import NoReturn

from config.settings import Settings


def web_words() -> list[str]:
    """Return the command of the web server."""
    return [sys.executable, "-m", "gunicorn", "--config", "python:config.gunicorn"]


def worker_words() -> list[str]:
    """Return the command of a worker; several may run on one machine, so each has a name of its own."""
    name = f"worker-{uuid.uuid4().hex[:8]}@%h"
    alone = ["--without-gossip", "--without-mingle"]
    return [*celery_words("tasks.celery_app"), "worker", "--hostname", name, *alone, "--loglevel", "INFO"]


def celery_words(app: str) -> list[str]:
    """Return how a command of Celery begins. Quiet: no banner among the lines of the log."""
    return [sys.executable, "-m", "celery", "--quiet", "-A", app]


def become(words: Sequence[str], settings: Settings) -> NoReturn:
    """Go on as this program. The settings go through the environment: arguments can be read by everyone on the machine."""
    os.execve(words[0], list(words), {**os.environ, **settings.environment()})
