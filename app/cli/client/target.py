"""Which service the command talks to: the environment, the credentials of `podwire login`, or the embedded service's own file.

Tokens are read from files and the environment, never from arguments, which every user of a machine can see.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from app.cli.errors import Stop

CLIENT_FILE = "client.json"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service is, and what proves who asks."""

    url: str
    token: str = field(repr=False)

    @property
    def is_local(self) -> bool:
        """True when the service is on this machine: then no proxy is asked."""
        return urlsplit(self.url).hostname in _LOOPBACK


def find_target(environ: Mapping[str, str] | None = None) -> Target:
    """Return the service to talk to. Raises: Stop when none is known."""
    env = os.environ if environ is None else environ
    saved = read_target(credentials_path(env))
    url = env.get("PODWIRE_URL")
    if url:
        if urlsplit(url).scheme not in ("http", "https"):
            raise Stop(f"PODWIRE_URL is {url!r}, which is no address: it begins with http:// or https://")
        token = env.get("PODWIRE_TOKEN") or (saved.token if saved and saved.url == url.rstrip("/") else None)
        if not token:
            raise Stop(f"There is no token for {url}: set PODWIRE_TOKEN, or sign in with: podwire login {url}")
        return Target(url.rstrip("/"), token)
    local = read_target(state_folder(env) / CLIENT_FILE)
    # Who names the embedded service's folder means that service; otherwise the one that was signed in to goes first.
    in_order = (local, saved) if env.get("PODWIRE_HOME") else (saved, local)
    found = next((each for each in in_order if each is not None), None)
    if found is None:
        raise Stop("No service is known: start one with podwire up, or sign in to one with: podwire login URL")
    token = env.get("PODWIRE_TOKEN")
    return Target(found.url, token) if token else found


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the embedded service's folder: PODWIRE_HOME, else `var` here, else `var` beside the installed source."""
    env = os.environ if environ is None else environ
    if home := env.get("PODWIRE_HOME"):
        return Path(home).resolve()
    here, beside = Path("var").resolve(), Path(__file__).resolve().parents[3] / "var"
    return beside if not here.is_dir() and beside.is_dir() else here


def credentials_path(environ: Mapping[str, str]) -> Path:
    """Return where `podwire login` keeps the address and the token."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", os.path.expanduser("~")), ".config")
    return Path(base) / "podwire" / "credentials"


def save_target(path: Path, target: Target) -> None:
    """Write the address and the token to a file that only this user can read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": target.url.rstrip("/"), "token": target.token}, file)
        draft.replace(path)
    except OSError as error:
        raise Stop(f"{path} cannot be written: {error.strerror}.") from error


def read_target(path: Path) -> Target | None:
    """Return the target that the file holds, or None where there is no file. Raises: Stop."""
    try:
        raw = json.loads(path.read_text())
        return Target(str(raw["url"]), str(raw["token"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Stop(f"{path} is damaged; remove it and sign in again.") from error
