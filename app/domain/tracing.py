"""Traces of runs as the core sees them: named parts of a run's life, told to somebody or to nobody. No I/O.

A run's trace has one root, its submission, whose context is kept with the run; every other part hangs on it. So the parts of a
process that was killed are missing, and those of its successor are where they would have been.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from app.domain.runs.run import Run


class Part(Protocol):
    """A part that lasts. `context` is its W3C traceparent, None when nothing is traced."""

    @property
    def context(self) -> str | None:
        """Return what others continue from."""

    def note(self, **attributes: str | int | None) -> None:
        """Add what became known; never a secret or a user's text."""


class Tracer(Protocol):
    """Is told of parts. Never raises, and never holds its caller up: what cannot be sent is dropped."""

    def submission(self, incoming: str | None) -> AbstractContextManager[Part]:
        """Trace the block as a run's submission, which continues `incoming` if that is a traceparent."""

    def part(
        self, name: str, run: Run, *, parent: str | None = None, began_at: float | None = None
    ) -> AbstractContextManager[Part]:
        """Trace the block as a part of the run, below `parent` if that is of the run's trace.

        `began_at` is in seconds since the epoch; None is now. An error that leaves the block is noted by its kind alone.
        """

    def past(self, name: str, run: Run, began_at: float, ended_at: float) -> None:
        """Tell of a part that was over before; seconds since the epoch."""


class Untold:
    """A part that nobody is told of."""

    context: str | None = None

    def note(self, **attributes: str | int | None) -> None:
        """Do nothing."""


class NoTracer:
    """The tracer of a process that traces nothing."""

    @contextmanager
    def submission(self, incoming: str | None) -> Iterator[Part]:
        """Do nothing."""
        yield Untold()

    @contextmanager
    def part(self, name: str, run: Run, *, parent: str | None = None, began_at: float | None = None) -> Iterator[Part]:
        """Do nothing."""
        yield Untold()

    def past(self, name: str, run: Run, began_at: float, ended_at: float) -> None:
        """Do nothing."""
