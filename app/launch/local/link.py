"""Links to an attempt's agent on this machine: the live one over its socket, and what is left when the agent is gone."""

from __future__ import annotations

import json
import select
import socket
import time
from pathlib import Path

from app.agent.records import wire_format
from app.domain.errors import AttemptGone, LinkLost
from app.domain.ports import Record
from app.launch.record_reader import Bell, Follower

RECEIVE_BYTES = 256 * 1024
SEND_WITHIN_S = 5.0


class SocketLink:
    """A link to a living agent."""

    def __init__(self, connection: socket.socket, position: int) -> None:
        """Take a connected socket and follow from the position. Raises: LinkLost."""
        self._socket = connection
        self._socket.setblocking(False)
        self._follower, self._decoder, self._bell = Follower(position), wire_format.Decoder(), Bell()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._bell.fd, select.POLLIN)
        self.send(wire_format.Kind.FOLLOW, {"from": position})

    def read(self, timeout_s: float) -> list[Record]:
        """Wait for records; [] after the timeout or a wake. Raises: LinkLost."""
        until = time.monotonic() + timeout_s
        while True:
            ready = {fd for fd, _ in self._poll.poll(max(0.0, until - time.monotonic()) * 1000)}
            if self._bell.fd in ready:
                self._bell.silence()
            if self._socket.fileno() in ready:
                records = self._follower.records(self._receive())
                if records:
                    return records
            if self._bell.fd in ready or time.monotonic() >= until:
                return []

    def _receive(self) -> list[wire_format.Frame]:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise LinkLost(f"The connection to the agent broke: {error.strerror}.") from error
        if not data:
            raise LinkLost
        try:
            return self._decoder.feed(data)
        except wire_format.FrameError as error:
            raise LinkLost(str(error)) from error

    def send(self, kind: int, body: dict[str, object]) -> None:
        """Send a command. Raises: LinkLost, also when the agent takes nothing for some seconds."""
        data = memoryview(wire_format.encode(kind, time.time(), json.dumps(body).encode()))
        until = time.monotonic() + SEND_WITHIN_S
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError as error:
                writable = select.poll()
                writable.register(self._socket, select.POLLOUT)
                if not writable.poll(max(0.0, until - time.monotonic()) * 1000):
                    raise LinkLost("The agent takes no commands.") from error
            except OSError as error:
                raise LinkLost(f"The connection to the agent broke: {error.strerror}.") from error

    def wake(self) -> None:
        """Make a `read` that waits return now, from any thread."""
        self._bell.ring()

    def close(self) -> None:
        """Close the connection; the attempt runs on."""
        self._socket.close()
        self._bell.close()


class Remains:
    """The link to an attempt whose agent is gone: every whole record of its spool, then AttemptGone if no exit was among them."""

    def __init__(self, spool: Path, position: int) -> None:
        """Read the spool from the position; it is an ordinary file that nobody writes any more."""
        self._spool, self._at = spool, position
        self._follower, self._decoder, self._bell = Follower(position), wire_format.Decoder(), Bell()
        self._acks: list[Record] = []
        self._saw_exit = False

    def read(self, timeout_s: float) -> list[Record]:
        """Return records at once while there are some. Raises: AttemptGone."""
        while data := self._chunk():
            self._at += len(data)
            try:
                records = self._follower.records(self._decoder.feed(data))
            except wire_format.FrameError as error:
                raise AttemptGone("The records of the run are damaged, and its agent is gone.") from error
            self._saw_exit = self._saw_exit or any(record.kind == wire_format.Kind.EXIT for record in records)
            if records:
                return records
        if not self._saw_exit:
            raise AttemptGone
        acks, self._acks = self._acks, []
        if not acks:
            self._wait(timeout_s)
        return acks

    def _chunk(self) -> bytes:
        try:
            with open(self._spool, "rb") as file:
                file.seek(self._at)
                return file.read(RECEIVE_BYTES)
        except FileNotFoundError:
            return b""

    def _wait(self, timeout_s: float) -> None:
        poll = select.poll()
        poll.register(self._bell.fd, select.POLLIN)
        if poll.poll(timeout_s * 1000):
            self._bell.silence()

    def send(self, kind: int, body: dict[str, object]) -> None:
        """Acknowledge: there is nobody left whom a command could reach, and nothing that one would change."""
        ack = json.dumps({"id": str(body.get("id")), "ok": True}).encode()
        self._acks.append(Record(wire_format.Kind.ACK, time.time(), ack, 0))

    def wake(self) -> None:
        """Make a `read` that waits return now, from any thread."""
        self._bell.ring()

    def close(self) -> None:
        """Give the spool up."""
        self._bell.close()
