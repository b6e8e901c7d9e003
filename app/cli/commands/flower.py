"""`podwire flower`: becomes Flower, which shows the workers and their tasks, read-only and never without a password.

Flower gets the address of Redis and no other setting of Podwire. Its own options are `FLOWER_…` in the environment, but for those
that are set here.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from collections.abc import Mapping

from app.cli.component_words import celery_words
from app.cli.errors import Stop
from app.cli.grammar import command, option
from app.cli.local_settings import local_settings
from config.settings import PREFIX, Watching

# Whoever of these is set decides who may look.
WAYS_IN = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
# Would open the API to everybody where there is no way in.
OPEN = "FLOWER_UNAUTHENTICATED_API"
USER = "podwire"
# Arguments, so that neither the environment nor a file makes Flower write, or keep what is long gone.
FIXED = {
    "read_only": "True",
    "enable_events": "True",
    # Each start of a worker has a name of its own.
    "purge_offline_workers": "600",
    "max_tasks": "10000",
    "tasks_columns": "uuid,state,args,kwargs,received,runtime,worker",
    "task_runtime_metric_buckets": "1,10,60,300,1800,7200,43200",
}


@command("flower")
@option("--address", default="127.0.0.1")
@option("--port", type=int, default=5555)
def flower(address: str, port: int) -> int:
    """Watch the workers with Flower."""
    if importlib.util.find_spec("flower") is None:
        raise Stop("Flower is not installed; install it with: pip install 'podwire[flower]'")
    settings = Watching.from_env() if f"{PREFIX}REDIS_URL" in os.environ else local_settings().watching()
    environment, password = guarded(os.environ)
    told = f"; user {USER}, password {password}" if password else ""
    print(f"podwire: Flower serves at http://{address}:{port}/{told}", file=sys.stderr, flush=True)
    words = flower_words(address, port)
    os.execve(words[0], words, {**environment, **settings.environment()})


def flower_words(address: str, port: int) -> list[str]:
    """Return the command of Flower, which only looks: nothing can be changed through it."""
    fixed = [f"--{name}={value}" for name, value in FIXED.items()]
    return [*celery_words("tasks.flower_app"), "flower", f"--address={address}", f"--port={port}", *fixed]


def guarded(environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Return Flower's environment without what it need not know, and the password that was made up; empty when there is one."""
    environment = {name: value for name, value in environ.items() if name != OPEN and not name.startswith(PREFIX)}
    if any(environ.get(name, "").strip() for name in WAYS_IN):
        return environment, ""
    password = secrets.token_urlsafe(16)
    return {**environment, "FLOWER_BASIC_AUTH": f"{USER}:{password}"}, password
