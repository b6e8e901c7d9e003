"""Starts a program that ends with its parent: `python -m app.cli.embedded.die_with_parent PARENT_PID PROGRAM WORDS…`.

The embedded service's children lead sessions of their own (Ctrl-C must not reach them before their turn), so a
killed parent would leave them behind. The kernel sends them SIGTERM instead, where it can (Linux); elsewhere this
only starts the program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before the tie was made.
        sys.exit(1)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
