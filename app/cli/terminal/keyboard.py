"""What is typed: stdin as pieces of text, and whether the terminal shows it. What it means is decided elsewhere."""

from __future__ import annotations

import codecs
import os
import sys
import termios
from contextlib import suppress

INPUT_PIECE = 16 * 1024


class Keyboard:
    """Stdin, until it ends or is given up."""

    def __init__(self, *, is_open: bool) -> None:
        """Read nothing yet."""
        self.is_open = is_open
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def fd(self) -> int:
        """The descriptor to wait for."""
        return sys.stdin.fileno()

    def read(self) -> str | None:
        """Return the next piece, None at the end; a character that is cut in two comes with the piece that completes it."""
        data = os.read(self.fd, INPUT_PIECE)
        if data:
            return self._decoder.decode(data)
        self.is_open = False
        return None

    def rest(self) -> str:
        """Return what is left of a character when nothing follows."""
        return self._decoder.decode(b"", final=True)


def show_typing(shown: bool) -> None:
    """Let the terminal show what is typed, or not."""
    if not sys.stdin.isatty():
        return
    with suppress(termios.error):
        state = termios.tcgetattr(sys.stdin)
        state[3] = state[3] | termios.ECHO if shown else state[3] & ~termios.ECHO
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, state)
