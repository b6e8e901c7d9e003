"""The agent of a pod: `python -I -S <this file> key=value…`, the same main loop as beside a local program.

Workers of other versions start it at this path. It lays out what the program's container sees, then serves until it is finished.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from app.agent.main_loop import follow
from app.agent.pod_layout import PodLayout
from app.agent.program.container import ContainerProgram
from app.agent.program.start import Config

SHARED, SPOOL = "/podwire", "/spool"


def main(words: list[str], shared: str = SHARED, spool: str = SPOOL) -> None:
    """Be the agent of this pod until the last follower has what it needs."""
    config = Config("\0".join(words).encode(errors="surrogateescape"))
    busybox = config.value.get(b"busybox", b"/bin/busybox").decode()
    folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    follow(ContainerProgram(PodLayout(shared, spool, busybox), folder, config))


if __name__ == "__main__":
    main(sys.argv[1:])
