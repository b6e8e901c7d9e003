"""`podwire worker`: becomes a worker, or looks whether the one that runs here is alive."""

from __future__ import annotations

import os
import sys
import time

from app.cli.component_words import become, worker_words
from app.cli.errors import Stop
from app.cli.grammar import command, option
from app.cli.local_settings import local_settings
from config.settings import Settings

# A worker touches its file every five seconds.
STALE_S = 30.0


@command("worker")
@option("--check", is_flag=True, help="say whether the worker here reads the queue, for probes")
def worker(check: bool) -> int:
    """Run a worker in the foreground."""
    if check:
        return _check(Settings.from_env())
    become(worker_words(), local_settings())


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
