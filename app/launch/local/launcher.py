"""The launcher for this machine: each attempt is a folder, an agent that outlives whoever started it, and a process group.

For development and demonstration: limits are those of one user's processes (see limits.py), and nothing keeps a program from
the files of the user who runs the service. The image of a spec is ignored.

How an attempt starts once. Its folder appears whole, by a rename that one of any number of racing launchers wins; each may start
an agent in it; one of those gets the lock and leaves the mark `started`, for ever. How it stays removed: the tombstone comes
before anything is taken away, and the agent looks for it after it has the lock.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from app.domain.errors import AttemptGone, LauncherUnavailable, LaunchRefused
from app.domain.ports import Attempt, Link
from app.domain.runs.artefacts import Found, LeftOut
from app.launch.artefact_transfer import collected
from app.launch.attempt_name import attempt_name, parse_attempt_name
from app.launch.local import folder as folders
from app.launch.local.link import Remains, SocketLink

logger = logging.getLogger(__name__)

CONNECT_WITHIN_S = 2.0
# How often to look for the agent: closely while it should be coming up any moment.
PAUSE_S = 0.02
SOON_S = 0.2
START_AGAIN_AFTER_S = 1.0
SPAWN_WITHIN_S = 15.0
DIE_WITHIN_S = 5.0
SWEEP_EVERY_S = 60.0
LEFTOVER_S = 3600.0
TAKEN = "taken"


class LocalLauncher:
    """Runs attempts under `root`. Any number of processes may use the same root at once."""

    def __init__(
        self, root: Path, languages: Mapping[str, tuple[str, ...]], keep_removed_s: float, *, keeps_artefacts: bool = False
    ) -> None:
        """`languages` maps a language to its command; a removed attempt is remembered for `keep_removed_s`.

        With `keeps_artefacts`, programs find a folder for what they want to be kept.
        """
        root = root.resolve()
        self._keeps_artefacts = keeps_artefacts
        self._languages, self._keep_removed_s = languages, keep_removed_s
        self._attempts, self._removed = root / "attempts", root / "removed"
        self._drafts, self._trash = root / "drafts", root / "trash"
        self._sweep_at = 0.0
        for path in (self._attempts, self._removed, self._drafts, self._trash):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def launch(self, attempt: Attempt) -> str:
        """Start the attempt unless it was ever started, and return its handle.

        Raises: LaunchRefused, LauncherUnavailable, AttemptGone when it was removed.
        """
        name = attempt_name(attempt)
        folder, tombstone = self._attempts / name, self._removed / name
        try:
            if not tombstone.exists():
                if not folder.exists():
                    self._prepare(attempt, folder, tombstone)
                if not (folder / "started").exists():
                    _spawn_agent(folder)
        except (OSError, subprocess.SubprocessError) as error:
            if not tombstone.exists():
                raise LauncherUnavailable(f"The program could not be started: {error}.") from error
        # Only now for good: it may have been removed while this was at it, and then this folder came after the removal.
        if tombstone.exists():
            self.remove(attempt)
            raise AttemptGone("The attempt was removed; it does not start again.")
        return name

    def _prepare(self, attempt: Attempt, folder: Path, tombstone: Path) -> None:
        draft = self._drafts / uuid.uuid4().hex
        draft.mkdir(mode=0o700)
        try:
            folders.fill(draft, folder, tombstone, attempt, self._languages, keeps_artefacts=self._keeps_artefacts)
            os.rename(draft, folder)
        except UnicodeEncodeError as error:
            raise LaunchRefused("A text of the run is not valid Unicode.") from error
        except OSError:
            if not folder.exists():
                raise
            # Another process was first; what it made is the same.
        finally:
            if draft.exists():
                folders.delete(draft)

    def connect(self, attempt: Attempt, position: int, on_start: Callable[[], None] = lambda: None) -> Link:
        """Follow the attempt's records from the spool position. Programs wait for no word here.

        Raises: LauncherUnavailable while the agent is not up yet, AttemptGone when there is no such attempt.
        """
        folder = self._attempts / attempt_name(attempt)
        begun, pause_s, started_again = time.monotonic(), 0.001, False
        try:
            while True:
                if connection := _dial(folder):
                    return SocketLink(connection, position)
                if not folder.exists():
                    raise AttemptGone("There is no such attempt any more.")
                # In this order: an agent takes the lock before it leaves the mark.
                started = (folder / "started").exists()
                if not folders.held(folder):
                    if started:
                        return Remains(folder / "spool", position)
                    if not started_again and time.monotonic() > begun + START_AGAIN_AFTER_S:
                        started_again = True
                        _spawn_agent(folder)
                if time.monotonic() > begun + CONNECT_WITHIN_S:
                    raise LauncherUnavailable("The run's agent is not up yet.")
                time.sleep(pause_s)
                pause_s = min(PAUSE_S if time.monotonic() > begun + SOON_S else PAUSE_S / 5, pause_s * 1.2)
        except (OSError, subprocess.SubprocessError) as error:
            raise LauncherUnavailable(f"The run's agent could not be reached: {error}.") from error

    def collect(self, attempt: Attempt, max_files: int, max_bytes: int) -> Iterator[Found | bytes | LeftOut]:
        """Yield what the program left to be kept, from its own folder (see domain.ports.Collector)."""
        return collected(self._attempts / attempt_name(attempt), max_files, max_bytes)

    def remove(self, attempt: Attempt, *, unless_ended: bool = False) -> bool:
        """End whatever of the attempt is still there and remove it, so that it can never start again.

        Say whether an agent ever took it, which the tombstone remembers. With `unless_ended`, an attempt of which nothing runs
        any more stays, but for its configuration, which holds secrets. Raises: LauncherUnavailable.
        """
        name = attempt_name(attempt)
        folder, tombstone = self._attempts / name, self._removed / name
        try:
            if unless_ended and (folder / "started").exists() and not folders.held(folder):
                (folder / "config").unlink(missing_ok=True)
                return True
            tombstone.touch(mode=0o600)
            self._bury(folder, tombstone)
            return tombstone.read_text() == TAKEN
        except OSError as error:
            raise LauncherUnavailable(f"The attempt could not be removed: {error}.", may_have_begun=True) from error

    def _bury(self, folder: Path, tombstone: Path) -> None:
        try:
            if folder.exists():
                _end_processes(folder)
                if (folder / "started").exists():
                    tombstone.write_text(TAKEN)
                trash = self._trash / uuid.uuid4().hex
                os.rename(folder, trash)
                folders.delete(trash)
        except FileNotFoundError:
            return  # another process removes it at the same time

    def present(self) -> list[tuple[str, int]]:
        """Return (run id, attempt number) of all that has not been removed. Raises: LauncherUnavailable."""
        try:
            if time.monotonic() > self._sweep_at:
                self._sweep_at = time.monotonic() + SWEEP_EVERY_S
                self.sweep()
            names = [parse_attempt_name(name) for name in os.listdir(self._attempts)]
        except OSError as error:
            raise LauncherUnavailable(f"The folder of attempts could not be read: {error}.") from error
        return [name for name in names if name is not None]

    def sweep(self) -> None:
        """Forget attempts that were removed long ago, and clear what a launcher that was killed left behind."""
        now = time.time()
        for tombstone in self._removed.iterdir():
            if _age_s(tombstone, now) > self._keep_removed_s:
                tombstone.unlink(missing_ok=True)
        for leftover in (*self._drafts.iterdir(), *self._trash.iterdir()):
            if _age_s(leftover, now) > LEFTOVER_S:
                folders.delete(leftover)


def _age_s(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _spawn_agent(folder: Path) -> None:
    """Start an agent in a session of its own and reap what it leaves behind; it goes on as nobody's child."""
    # Isolated and without site-packages: it needs neither, and is up in a third of the time. An empty environment: no secrets.
    command = [sys.executable, "-I", "-S", str(folders.AGENT / "__main__.py"), str(folder)]
    with open(folder / "agent.log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", env={}
        )
        code = _wait(process, SPAWN_WITHIN_S)
    if code:
        raise LauncherUnavailable(f"The agent could not be started: its interpreter ended with {code}.")


def _wait(process: subprocess.Popen[bytes], within_s: float) -> int:
    """Wait for a process's end, which `Popen.wait` with a timeout notices up to 10 ms late. Raises: TimeoutExpired."""
    handle = os.pidfd_open(process.pid)
    try:
        end = select.poll()
        end.register(handle, select.POLLIN)
        end.poll(within_s * 1000)
    finally:
        os.close(handle)
    return process.wait(0)


def _dial(folder: Path) -> socket.socket | None:
    """Connect to the agent, if it listens. The folder is named by descriptor: its path may be longer than a socket's can be."""
    try:
        here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(f"/proc/self/fd/{here}/agent.sock")
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        connection.close()
        return None
    finally:
        os.close(here)
    return connection


def _end_processes(folder: Path) -> None:
    """Kill agent and program. Raises: OSError when they do not die."""
    until = time.monotonic() + DIE_WITHIN_S
    patience = time.monotonic() + 0.2
    while folders.held(folder):
        known = folders.processes(folder)
        # The agent first: its death makes the guardian kill the group. Only a guardian that was stopped has to be killed itself.
        for pid, started in known if time.monotonic() > patience else known[:1]:
            folders.kill(folder, pid, started)
        if time.monotonic() > until:
            raise OSError(f"The processes {[pid for pid, _ in known]} do not end")
        time.sleep(0.005)
    folders.kill_strays(folder)
