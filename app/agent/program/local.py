"""The program as processes of this machine, under a guardian: signalled as a group, its end seen by its process id."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from app.agent.commands import signal_name
from app.agent.program.usage import ProcessGroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from app.agent.commands import Obey
    from app.agent.program.program import Loop
    from app.agent.program.start import StartedProgram


class LocalProgram:
    """A program that program/start.py has started, or could not start."""

    running = True

    def __init__(self, started: StartedProgram) -> None:
        """Watch nothing yet."""
        self._started = started
        self.config, self.folder = started.config, started.folder
        self.requests, self.bell = started.requests, started.bell
        self.stdin, self.stdout, self.stderr = started.stdin, started.stdout, started.stderr
        self.commands: dict[int, Obey] = {}
        self._group = ProcessGroup(started.guardian)
        self._usage: object = None

    def begin(self, loop: Loop) -> None:
        """Record that it runs, or why not."""
        self._loop = loop
        if self._started.error:
            loop.end({"exit_code": 127, "signal": None, "launch_error": self._started.error})
            return
        loop.started(self._started.pid)
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.set_blocking(fd, False)
        exited = os.pidfd_open(self._started.pid)
        loop.watch_program(exited, partial(self._reap, exited))

    def _reap(self, exited: int) -> None:
        _, status, usage = os.wait4(self._started.pid, 0)
        self._loop.forget(exited)
        os.close(exited)
        code = os.waitstatus_to_exitcode(status)
        end: dict[str, object] = {"exit_code": code, "signal": None, "launch_error": None}
        if code < 0:
            end |= {"exit_code": None, "signal": signal_name(-code)}
        self._usage = usage
        self._loop.settle(end)

    def before_output(self) -> None:
        """There is nothing to hear."""

    def measure(self) -> None:
        """Read what its process group uses."""
        if reading := self._group.read(time.monotonic()):
            self._loop.report(reading)

    def signal(self, number: int) -> None:
        """Signal the whole group; the guardian in it minds SIGKILL only."""
        if not self._loop.ended and self._started.guardian:
            os.killpg(self._started.guardian, number)

    def kill_rest(self) -> None:
        """Kill what is left of the group and take leave of its guardian; its number is nobody's afterwards."""
        guardian, self._started.guardian = self._started.guardian, 0
        if guardian:
            os.killpg(guardian, signal.SIGKILL)
            os.waitpid(guardian, 0)

    def due(self) -> float:
        """Nothing is ever due."""
        return float("inf")

    def tick(self, now: float) -> None:
        """Nothing is ever due."""

    def heartbeat_fields(self) -> None:
        """There is nothing to tell."""

    def usage(self) -> object:
        """Return what the kernel said when it was reaped."""
        return self._usage

    def measures(self) -> dict[str, object]:
        """There is nothing to add."""
        return {}
