"""Where the agent begins: `python -I -S <this file> <attempt folder>`. It leaves its parent at once and goes on by itself.

It is started as a plain file by an isolated interpreter, which is ready in a third of the time; so it finds its own package.
"""

import os
import sys


def main() -> None:
    """Detach, start the program, then stay with it to its end."""
    if os.fork():
        # The launcher waits for this process only: what goes on is nobody's child, and leaves no zombie to anybody.
        os._exit(0)
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from app.agent.program.start import begin

    started = begin(sys.argv[1])
    if started is None:
        return
    # Slow to import, so only now: the program is on its way already.
    from app.agent.main_loop import follow
    from app.agent.program.local import LocalProgram

    follow(LocalProgram(started))


if __name__ == "__main__":
    main()
