"""Carries a supervisor's connection between the standard streams of an exec and the agent's socket until one side ends."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import sys
import time

SOCKET = "/spool/agent.sock"
CHUNK_BYTES = 256 * 1024
F_SETPIPE_SZ, PIPE_BYTES = 1031, 1024 * 1024
TRIES, TRY_EVERY_S = 150, 0.01


class Way:
    """One direction: what was read from `source` and is not yet written to `target`."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self._rest = memoryview(b"")

    @property
    def full(self) -> bool:
        """True while something waits to be written."""
        return bool(self._rest)

    def fill(self) -> bool:
        """Read once; False at the end."""
        try:
            self._rest = memoryview(os.read(self.source, CHUNK_BYTES))
        except BlockingIOError:
            return True
        return bool(self._rest)

    def drain(self) -> None:
        """Write what the target takes."""
        try:
            self._rest = self._rest[os.write(self.target, self._rest) :]
        except BlockingIOError:
            return


def forward(ways: list[Way]) -> None:
    """Move bytes until one of the sources ends or one of the targets is gone."""
    while True:
        poll = select.poll()
        for way in ways:
            poll.register(way.target if way.full else way.source, select.POLLOUT if way.full else select.POLLIN)
        for fd, _ in poll.poll():
            for way in ways:
                if way.full and way.target == fd:
                    way.drain()
                elif not way.full and way.source == fd and not way.fill():
                    return


def _connect(connection: _socket.socket, path: str) -> None:
    """Connect, also to an agent that is about to listen. Raises: OSError."""
    for _ in range(TRIES):
        try:
            return connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(TRY_EVERY_S)
    connection.connect(path)


def _enlarge(pipe: int) -> None:
    try:  # noqa: SIM105  # contextlib takes longer to import than everything else here
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        pass  # not a pipe, or more than the user's pipes may hold


def main(path: str) -> int:
    """Connect and carry; 1 when there is no agent to connect to."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        _connect(connection, path)
        # Two descriptors of one connection: each direction waits for its own.
        to_agent, from_agent = connection.fileno(), os.dup(connection.fileno())
        for fd in (to_agent, 1):
            os.set_blocking(fd, False)
        _enlarge(1)
        forward([Way(0, to_agent), Way(from_agent, 1)])
    except OSError as error:
        print(f"bridge: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else SOCKET))
