"""What the main loop needs of the program beside it, and the program of the loop (app/agent/main_loop.py).

There are two programs: processes of this machine (local.py), a container (container.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from app.agent.program.start import Config
from app.agent.program.usage import Reading
from app.agent.records.wire_format import Kind

if TYPE_CHECKING:
    from app.agent.commands import Obey


class Loop(Protocol):
    """The agent's main loop. `ended`: the end is on record; `settled`: how the program ended is known; `finished`: a follower has
    taken everything.
    """

    ended: bool

    @property
    def settled(self) -> bool:
        """Whether it is known how the program ended."""

    @property
    def finished(self) -> bool:
        """Whether a follower has taken everything there is."""

    def watch_program(self, end: int, ready: Callable[[], object]) -> None:
        """Watch the program's streams, then the descriptor that tells of its end, then the bell of its questions."""

    def forget(self, fd: int) -> None:
        """Watch the descriptor no more."""

    def started(self, pid: int) -> None:
        """Record that the program runs."""

    def settle(self, end: dict[str, object]) -> None:
        """Take how the program ended."""

    def end(self, end: dict[str, object]) -> None:
        """Record the end."""

    def report(self, reading: Reading) -> None:
        """Tell every follower what the program uses."""

    def record(self, kind: Kind, body: dict[str, object]) -> None:
        """Write a record into the spool. Raises: SpoolFailed."""

    def drain(self) -> None:
        """Record what the program has written up to now."""

    def leave(self) -> None:
        """Leave at once."""


class Program(Protocol):
    """The program of one attempt, as the loop needs it. Descriptors that are not there are -1."""

    config: Config
    folder: int  # of the attempt: the spool and the socket are in it
    requests: int  # the folder that questions come in
    bell: int  # a FIFO that rings when a question has come
    stdin: int
    stdout: int
    stderr: int
    running: bool  # whether time is the program's own
    commands: dict[int, Obey]  # what clients may want of it besides the common commands

    def begin(self, loop: Loop) -> None:
        """Start, or watch what was started; say so with `loop.started`, or `loop.end` if it cannot be."""

    def before_output(self) -> None:
        """Hear whatever must be on record before the output that is read next."""

    def measure(self) -> None:
        """Read what it uses, now or soon, and `loop.report` it."""

    def signal(self, number: int) -> None:
        """Signal the program and all its children."""

    def kill_rest(self) -> None:
        """Kill whatever is left of it."""

    def due(self) -> float:
        """Return when `tick` has something to do, by the monotonic clock; infinity for never."""

    def tick(self, now: float) -> None:
        """Do what is due."""

    def heartbeat_fields(self) -> dict[str, object] | None:
        """Return what a new follower is told beside the spool's position; None where there is nothing to tell."""

    def usage(self) -> object:
        """Return what it has used as the kernel's resource usage; None where that is not known."""

    def measures(self) -> dict[str, object]:
        """Return what the record of the end says besides the common measures."""
