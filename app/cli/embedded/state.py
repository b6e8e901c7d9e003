"""The embedded service's folder: who may use it at a time, its secrets, and the settings that follow from it.

Everything in it is readable by this user only. Nothing here starts a process.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.cli.errors import Stop
from config.settings import PREFIX, Settings

DEFAULT_PORT = 8080
HOST = "127.0.0.1"


@dataclass(slots=True)
class State:
    """An existing state folder. `lock_fd` holds the lock while the service runs."""

    folder: Path
    lock_fd: int = -1

    def path(self, *parts: str) -> Path:
        """Return a path below the folder."""
        return self.folder.joinpath(*parts)

    def lock(self) -> None:
        """Make sure that one service at a time uses the folder. Raises: Stop with who does."""
        self.lock_fd = os.open(self.path("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self.lock_fd, 200).decode(errors="replace").strip()
            raise Stop(f"Podwire already runs from {self.folder} ({holder or 'starting'}).") from error

    def note_holder(self, text: str) -> None:
        """Write into the lock file what a second start shows."""
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, text.encode(), 0)

    def unlock(self) -> None:
        """Give the lock back. Idempotent."""
        if self.lock_fd >= 0:
            os.ftruncate(self.lock_fd, 0)
            os.close(self.lock_fd)
            self.lock_fd = -1

    def secret(self, name: str) -> str:
        """Return the secret of that name; made at first use."""
        path = self.path(name)
        with suppress(FileNotFoundError):
            return path.read_text().strip()
        write_private(path, secrets.token_urlsafe(48))
        return path.read_text().strip()


def prepare(folder: Path) -> State:
    """Return the folder, made when it is missing. Raises: Stop when it cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        for name in ("log", "redis", "artefacts"):
            (folder / name).mkdir(exist_ok=True, mode=0o700)
        probe = folder / "lock"
        os.close(os.open(probe, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise Stop(f"The folder {folder} cannot be used: {error.strerror}.") from error
    return State(folder)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all. Raises: Stop."""
    draft = path.with_name(path.name + ".new")
    try:
        with suppress(FileNotFoundError):
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise Stop(f"{path} cannot be written: {error.strerror}.") from error


def choose_port(wanted: int | None) -> int:
    """Return the port to serve on (0 = any free one). Raises: Stop when it is taken."""
    port = DEFAULT_PORT if wanted is None else wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Stop(_port_fault(port, error)) from error
        return int(probe.getsockname()[1])


def free_port(preferred: int) -> int:
    """Return the preferred port when it is free, else any free one."""
    try:
        return choose_port(preferred)
    except Stop:
        return choose_port(0)


def _port_fault(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken by another program; choose another with --port, such as --port {port + 1}."
    return f"Port {port} cannot be used: {error.strerror}; choose another with --port."


def embedded_settings(state: State, port: int, redis_url: str, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the embedded service: what the environment says, else what the folder gives.

    Raises: SettingsError.
    """
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    defaults = {
        "PODWIRE_DATABASE_URL": f"sqlite:///{state.path('podwire.db')}",
        "PODWIRE_SECRET_KEY": state.secret("secret_key"),
        "PODWIRE_STATE_DIR": str(state.folder),
        "PODWIRE_WORKSPACES_DIR": str(state.path("artefacts")),
        # Nobody else's browser hangs on this service: Ctrl-C need not spread the farewells.
        "PODWIRE_DRAIN_S": "1",
    }
    return Settings.from_env(defaults | given | {"PODWIRE_REDIS_URL": redis_url, "PODWIRE_BIND": f"{HOST}:{port}"})


def save_settings(state: State, settings: Settings) -> None:
    """Keep the settings for the commands that act on this machine's service, such as `podwire user`."""
    write_private(state.path("settings.json"), json.dumps(settings.environment(), indent=1))


def saved_settings(folder: Path) -> Settings | None:
    """Return the settings of the folder's service, or None where there was none. Raises: Stop, SettingsError."""
    try:
        return Settings.from_env(json.loads((folder / "settings.json").read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Stop(f"{folder / 'settings.json'} cannot be read: {error}.") from error
