"""Ctrl-C while a run is followed: the first becomes a byte in a pipe, to be waited for beside the stream, the second leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """The interrupts of one command. `held` = the first one is told by `fd`; otherwise each leaves at once."""

    def __init__(self, *, held: bool) -> None:
        """Catch nothing yet."""
        self._held, self._count = held, 0
        self.fd, self._wake = os.pipe()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch Ctrl-C until the block ends; the second one is a KeyboardInterrupt. For one time only."""
        former = signal.signal(signal.SIGINT, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, former)
            os.close(self.fd)
            os.close(self._wake)

    def take(self) -> None:
        """Take what `fd` told."""
        os.read(self.fd, 64)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1 or not self._held:
            raise KeyboardInterrupt
        os.write(self._wake, b"!")
