"""An attempt's folder on this machine: its contents before the agent starts, and what its files tell afterwards.

`lock` is held as long as the agent or the program's guardian lives (see app/agent/program/start.py); `started` is there once an
agent took the attempt; `spool` holds the records; `agent.sock` is where the agent listens; `work` is the program's; `artefacts`
is for what it leaves to be kept, where anything is kept; `podwire` is where it asks.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app import agent
from app.domain.errors import LaunchRefused
from app.domain.ports import Attempt
from app.domain.runs.spec import RunSpec
from app.launch.environment import secrets_of
from app.launch.local.process_limits import backstop_s, limit_words, niceness, variables

AGENT = Path(agent.__file__).parent
ARTEFACTS = "artefacts"
ENDINGS = {"python": ".py", "bash": ".sh", "sh": ".sh", "node": ".js", "javascript": ".js", "ruby": ".rb", "perl": ".pl"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def fill(
    draft: Path,
    final: Path,
    tombstone: Path,
    attempt: Attempt,
    languages: Mapping[str, tuple[str, ...]],
    *,
    keeps_artefacts: bool = False,
) -> None:
    """Write everything that the agent needs into the draft, which will be renamed to the final folder. Raises: LaunchRefused."""
    spec = attempt.spec
    work = draft / "work"
    for folder in (work, draft / "tmp", draft / "podwire", draft / "podwire/ask", draft / "podwire/bin", draft / "podwire/lib"):
        folder.mkdir()
    if keeps_artefacts:
        (draft / ARTEFACTS).mkdir()
    os.mkfifo(draft / "podwire/bell", 0o600)
    _write(draft / "podwire/bin/ask", (AGENT / "ask.sh").read_bytes(), 0o755)
    _write(draft / "podwire/lib/podwire.py", (AGENT / "podwire.py").read_bytes(), 0o644)
    for name, text in spec.files.items():
        if not _FILE_NAME.match(name):
            raise LaunchRefused(f"The file name {name[:100]!r} is not a plain one.")
        _write(work / name, text.encode(), 0o644)
    argv = _command(spec, work, languages)
    env = _environment(attempt, final, keeps_artefacts)
    _write(draft / "config", _config(attempt, final, tombstone, argv, env), 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(data)


def _command(spec: RunSpec, work: Path, languages: Mapping[str, tuple[str, ...]]) -> list[str]:
    if spec.script is None:
        if not spec.command or not spec.command[0]:
            raise LaunchRefused("There is no command to run.")
        return [*spec.command, *spec.args]
    language = languages.get(spec.language or "")
    if not language:
        raise LaunchRefused(f"The language {str(spec.language)[:100]!r} is not available here.")
    name = "script" + ENDINGS.get(spec.language or "", "")
    while name in spec.files:
        name = f"_{name}"
    _write(work / name, spec.script.encode(), 0o755)
    # By its own name, not by its path: what the program prints about itself does not depend on where we keep it.
    return [*language, name, *spec.args]


def _config(attempt: Attempt, final: Path, tombstone: Path, argv: list[str], env: Mapping[str, str]) -> bytes:
    """Return the agent's configuration: NUL-separated `key=value`."""
    spec = attempt.spec
    entries = [
        f"cwd={final / 'work'}",
        f"tombstone={tombstone}",
        f"stdin={'1' if spec.stdin else ''}",
        f"output_limit={spec.output_limit_bytes}",
        f"backstop_s={backstop_s(spec)}",
        f"nice={niceness(spec)}",
        *(f"arg={word}" for word in argv),
        *(f"env={name}={value}" for name, value in env.items()),
        *(f"limit={limit}" for limit in limit_words(spec)),
    ]
    if any("\0" in entry for entry in entries) or any("=" in name or not name for name in spec.env):
        raise LaunchRefused("A word of the command or of the environment holds a NUL character, or a name is not valid.")
    try:
        return "\0".join(entries).encode()
    except UnicodeEncodeError:
        raise LaunchRefused("A word of the command or of the environment is not valid Unicode.") from None


def _environment(attempt: Attempt, final: Path, keeps_artefacts: bool) -> dict[str, str]:
    """Return the program's whole environment: nothing of this process's own, which holds secrets."""
    podwire = final / "podwire"
    env = {
        "PATH": PATH,
        "HOME": str(final / "work"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(final / "tmp"),
        **attempt.spec.env,
        **secrets_of(attempt),
    }
    env["PATH"] = f"{podwire / 'bin'}:{env['PATH']}"
    env["PYTHONPATH"] = f"{podwire / 'lib'}{':' if env.get('PYTHONPATH') else ''}{env.get('PYTHONPATH', '')}"
    ours = {"PODWIRE_DIR": str(podwire), "PODWIRE_RUN_ID": attempt.run_id, "PODWIRE_ATTEMPT": str(attempt.number)}
    ours |= {"PODWIRE_ARTEFACTS": str(final / ARTEFACTS)} if keeps_artefacts else {}
    return env | ours | variables(attempt.spec)


def held(folder: Path) -> bool:
    """Say whether an agent, or the guardian of its program, lives. Asks without taking the lock, so it is in nobody's way."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        kind: int = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_OFD_GETLK, _WHOLE_FILE))[0]
        return kind != fcntl.F_UNLCK
    finally:
        os.close(lock)


def processes(folder: Path) -> list[tuple[int, str]]:
    """Return (process id, start time) of the agent and the guardian, as the agent wrote them while it held the lock."""
    try:
        lines = (folder / "lock").read_text().splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [(int(pair[0]), pair[1]) for pair in words if len(pair) == 2 and pair[0].isdigit()]


def kill(folder: Path, pid: int, started: str) -> bool:
    """Kill the agent or the guardian of this folder; False when the process of that id is something else by now."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # A program may write what it likes into the folder: only a process that was started as this folder's agent is one.
        if _stat(pid) != started or str(folder).encode() not in _read(pid, "cmdline").split(b"\0"):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def kill_strays(folder: Path) -> None:
    """Kill what left the program's group: the processes that carry the attempt's PODWIRE_DIR in their environment."""
    mark = f"PODWIRE_DIR={folder / 'podwire'}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or mark not in _read(int(name), "environ"):
            continue
        with suppress(OSError):
            handle = os.pidfd_open(int(name))
            if mark in _read(int(name), "environ").split(b"\0"):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> str:
    """Return when a process was started, in the kernel's form; empty when there is none of that id."""
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return words[19].decode() if len(words) > 19 else ""


def delete(path: Path) -> None:
    """Delete a folder, also where a program has taken the permissions of its own folders away."""

    def unlock(remove: object, name: str, error: object) -> None:
        os.chmod(os.path.dirname(name), 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            shutil.rmtree(name, ignore_errors=True)
        else:
            os.unlink(name)

    shutil.rmtree(path, onerror=unlock)
