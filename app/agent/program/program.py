"""What the main loop needs of the program beside it. There are two: of this machine (local.py), in a container (container.py)."""

from __future__ import annotations

from typing import Protocol

from app.agent.commands import Obey
from app.agent.main_loop import MainLoop
from app.agent.program.start import Config


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

    def begin(self, loop: MainLoop) -> None:
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

    def position_facts(self) -> dict[str, object] | None:
        """Return what a new follower is told beside the spool's position; None where there is nothing to tell."""

    def measures(self) -> dict[str, object]:
        """Return what the record of the end says besides the common measures."""
