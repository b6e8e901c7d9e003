"""Starts, watches and stops the processes of the embedded service. It knows nothing of what they do.

Children are started in order, restarted with growing pauses when they die, and stopped in reverse order, each by its pid.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.cli.errors import Stop

logger = logging.getLogger(__name__)
MAX_RESTARTS = 5
RESTART_WINDOW_S = 60.0
RESTART_BASE_S = 0.25
POLL_S = 0.1
MAX_LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: its name, its words, how long it may take to stop, and how to see that it serves."""

    name: str
    words: Sequence[str]
    stop_s: float
    is_ready: Callable[[], bool] = lambda: True
    ready_s: float = 30.0


@dataclass(slots=True)
class Child:
    """A program that was started."""

    program: Program
    process: subprocess.Popen[bytes]
    restarts: list[float] = field(default_factory=list)
    next_start_at: float | None = None


class Processes:
    """The children of one service. `start` in order, then `watch` in a thread, then `stop`."""

    def __init__(self, environment: Mapping[str, str], log_folder: Path) -> None:
        """Start nothing yet. The environment carries every secret; no argument does."""
        self._environment, self._logs = dict(environment), log_folder
        self._children: list[Child] = []
        self._stopping, self._stopped = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self.broken = threading.Event()
        self.fault = ""

    def start(self, program: Program) -> None:
        """Start the program and wait until it serves. Raises: Stop when it ends or takes too long."""
        child = Child(program, self._spawn(program))
        with self._lock:
            self._children.append(child)
        deadline = time.monotonic() + program.ready_s
        while not program.is_ready():
            if child.process.poll() is not None:
                raise Stop(f"The {program.name} did not start:{self._last_line(program)} ({self.log_path(program)}).")
            if time.monotonic() > deadline:
                raise Stop(f"The {program.name} does not answer after {program.ready_s:g} s; see {self.log_path(program)}.")
            time.sleep(POLL_S / 2)

    def watch(self, on_broken: Callable[[], None]) -> None:
        """Restart children that die until `stop`; set `broken` and `fault` when one dies too often. For a thread of its own."""
        while not self._stopping.wait(POLL_S) and not self.broken.is_set():
            with self._lock:
                for child in self._children:
                    if not self._stopping.is_set():
                        self._look_after(child, time.monotonic())
        if self.broken.is_set():
            on_broken()
        # A child is tied to the thread that started it: leaving earlier would end the restarted ones before their turn.
        self._stopped.wait()

    def _look_after(self, child: Child, now: float) -> None:
        if child.next_start_at is not None:
            if now >= child.next_start_at:
                child.process, child.next_start_at = self._spawn(child.program), None
            return
        code = child.process.poll()
        if code is None or self.broken.is_set():
            return
        child.restarts = [moment for moment in child.restarts if moment > now - RESTART_WINDOW_S] + [now]
        if len(child.restarts) > MAX_RESTARTS:
            self.fault = (
                f"The {child.program.name} ended {len(child.restarts)} times within a minute"
                f" (last with {_code(code)}); see {self.log_path(child.program)}."
            )
            self.broken.set()
            return
        logger.warning("the %s ended with %s and is started again", child.program.name, _code(code))
        child.next_start_at = now + RESTART_BASE_S * 2 ** (len(child.restarts) - 1)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop the children in reverse order: SIGTERM, then SIGKILL after their time or when `hurry()`. Idempotent."""
        self._stopping.set()
        with self._lock:
            while self._children:
                child = self._children.pop()
                if child.next_start_at is None:
                    _stop_one(child, hurry)
        self._stopped.set()

    def log_path(self, program: Program) -> Path:
        """Return the file that the program's output goes to."""
        return self._logs / f"{program.name.replace(' ', '-')}.log"

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        path = self.log_path(program)
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.old"))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "app.cli.embedded.die_with_parent", str(os.getpid()), *program.words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _last_line(self, program: Program) -> str:
        lines = self.log_path(program).read_text(errors="replace").strip().splitlines()
        return f" {lines[-1][:300]}" if lines else ""


def _stop_one(child: Child, hurry: Callable[[], bool]) -> None:
    process = child.process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + child.program.stop_s
    while process.poll() is None:
        if hurry() or time.monotonic() > deadline:
            process.kill()
            process.wait()
            return
        time.sleep(POLL_S / 4)


def _code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
