"""The agent's side of its connections: followers that get the spool's records, and commands that come from them.

A follower is a position in the spool and a few bytes that are on their way; so a slow one costs nothing and holds nobody up.
"""

from __future__ import annotations

import _socket  # `socket` costs 3 ms of every run's first byte, for conveniences that are not needed here
import os

from app.agent.questions import flat_json
from app.agent.records import wire_format
from app.agent.records.spool import Spool
from app.agent.records.wire_format import Kind

RECEIVE_BYTES = 256 * 1024
MAX_COMMAND_BYTES = 2 * 1024 * 1024
MAX_UNREAD_BYTES = 1024 * 1024

Command = tuple[int, dict[str, object]]


class ClientGone(Exception):
    """The client left, or sends what no client of ours sends."""


class Client:
    """One connection."""

    def __init__(self, socket: _socket.socket, spool: Spool) -> None:
        self._socket, self._spool = socket, spool
        self._decoder = wire_format.Decoder(MAX_COMMAND_BYTES)
        self._out = memoryview(b"")
        self._messages: list[bytes] = []
        self._unread = 0
        self._position: int | None = None
        self.fd = socket.fileno()

    def receive(self) -> list[Command]:
        """Return the commands that have arrived. Raises: ClientGone."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ClientGone from error
        if not data:
            raise ClientGone
        try:
            commands = [(kind, flat_json.loads(payload)) for kind, _, payload in self._decoder.feed(data)]
        except (ValueError, RecursionError) as error:
            raise ClientGone from error
        if not all(isinstance(body, dict) for _, body in commands):
            raise ClientGone
        return commands

    def follow(self, position: object) -> None:
        """Send the records from this position on. Raises: ClientGone when it is not one."""
        if not isinstance(position, int) or not 0 <= position <= self._spool.position:
            raise ClientGone
        self._position = position

    def send(self, kind: Kind, now: float, body: dict[str, object]) -> None:
        """Queue a message between records. Raises: ClientGone when it reads none of them."""
        frame = wire_format.encode(kind, now, flat_json.dumps(body))
        self._unread += len(frame)
        if self._unread > MAX_UNREAD_BYTES:
            raise ClientGone
        self._messages.append(frame)

    def push(self) -> bool:
        """Send as much as the connection takes; True when more waits for it to take some. Raises: ClientGone."""
        while self._out or self._refill():
            try:
                sent = self._socket.send(self._out)
            except BlockingIOError:
                return True
            except OSError as error:
                raise ClientGone from error
            self._out = self._out[sent:]
        return False

    def _refill(self) -> bool:
        """Take what is to be sent next: whole frames, so that messages never end up inside a record."""
        data, self._messages, self._unread = b"".join(self._messages), [], 0
        if self._position is not None and self._position < self._spool.position:
            try:
                records = self._spool.read(self._position)
            except ValueError as error:
                raise ClientGone from error
            self._position += len(records)
            data += records
        self._out = memoryview(data)
        return bool(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Listener:
    """The socket in the attempt's folder."""

    def __init__(self, folder: int, spool: Spool) -> None:
        """Listen. The folder's path may be longer than a socket's name can be, so it is named by descriptor."""
        self._spool = spool
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        draft = f"/proc/self/fd/{folder}/agent.sock.draft"
        self._socket.bind(draft)
        self._socket.listen(16)
        # Under its name only once it listens: whoever finds it can connect.
        os.rename("agent.sock.draft", "agent.sock", src_dir_fd=folder, dst_dir_fd=folder)
        self.fd = self._socket.fileno()

    def accept(self) -> Client | None:
        """Return the next client, if there is one."""
        try:
            fd, _ = self._socket._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
        except OSError:
            return None
        os.set_blocking(fd, False)
        return Client(_socket.socket(fileno=fd), self._spool)
