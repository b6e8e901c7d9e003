"""How the child process that checks a form ends. Both sides know it; nothing else does."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the child ends. Anything else, and every signal, is an end that it did not choose."""

    DONE = 0
    TOO_COSTLY = 71
    UNCHECKABLE = 72
