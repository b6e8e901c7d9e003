"""The program's standard input: what people sent and the program has not read yet, within a bound."""

from __future__ import annotations

import os

MAX_WAITING_BYTES = 1024 * 1024


class Stdin:
    """The writing end of the program's stdin. Never blocks."""

    def __init__(self, fd: int) -> None:
        """Take the pipe; -1 when the program has no input."""
        self.fd = fd
        self._waiting = bytearray()
        self._ends = False
        if fd >= 0:
            os.set_blocking(fd, False)

    def take(self, data: bytes, eof: bool) -> str | None:
        """Take input for the program; return why not when it does not fit at present.

        What a program that closed its input would have been sent is dropped, as a pipe does.
        """
        if self.fd < 0 or self._ends:
            return None
        if self._waiting and len(self._waiting) + len(data) > MAX_WAITING_BYTES:
            return f"The program has not read the last {len(self._waiting)} bytes yet."
        self._waiting += data
        self._ends = eof
        return None

    def push(self) -> bool:
        """Write what the program takes; True when more waits for it."""
        while self._waiting:
            try:
                del self._waiting[: os.write(self.fd, self._waiting[:65536])]
            except BlockingIOError:
                return True
            except OSError:
                self.close()
                return False
        if self._ends:
            self.close()
        return False

    def close(self) -> None:
        """Close the pipe: the program reads to an end."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self._waiting.clear()
