"""The load client: thousands of WebSockets in one process and one epoll loop, cheap enough not to be what is measured.

It counts events by a mark that each of them carries, and reads times from a sample of the sockets. It knows nothing of the
servers.
"""

from __future__ import annotations

import base64
import os
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# Each event carries this and the monotonic clock at its append: "@@123.456789;".
MARK = b"@@"
_STAMP = re.compile(rb"@@(\d+\.\d+);")
_BUFFER = 8 * 1024 * 1024
_IN_FLIGHT = 128
_PER_SOURCE = 2_000


def stamped(filler: str) -> str:
    """Return the text of an event that is appended now."""
    return f"@@{time.monotonic():.6f};{filler}"


@dataclass(slots=True)
class _Peer:
    socket: socket.socket
    sampled: bool
    rest: bytes = b""
    upgraded: bool = False


@dataclass(slots=True)
class Tally:
    """What was seen while pumping: events, frames, sampled latencies, and this client's own CPU time; all times in seconds."""

    events: int = 0
    frames: int = 0
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0


class ConnectFailed(Exception):
    """A server did not take the sockets; says how many it took."""


class Swarm:
    """Many sockets to one server."""

    def __init__(self, host: str, port: int, headers: Sequence[str] = (), sampled: int = 50) -> None:
        """Nothing is connected yet; about `sampled` of the sockets have their latencies measured."""
        self._address, self._headers, self._sampled = (host, port), list(headers), sampled
        self._epoll = select.epoll()
        self._peers: dict[int, _Peer] = {}
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._upgraded = 0
        self.closed = 0
        self._tally = Tally()

    def __len__(self) -> int:
        return len(self._peers)

    def connect(self, paths: Sequence[str], timeout_s: float = 120.0) -> float:
        """Open one socket per path and return the seconds that took, upgrades included. Raises: ConnectFailed."""
        began, opened = time.monotonic(), 0
        every = max(1, len(paths) // self._sampled)
        while self._upgraded < len(paths):
            while opened < len(paths) and opened - self._upgraded - self.closed < _IN_FLIGHT:
                self._open(paths[opened], opened, opened % every == 0)
                opened += 1
            self._turn(0.5)
            if time.monotonic() - began > timeout_s or self.closed > len(paths) // 100:
                raise ConnectFailed(f"{self._upgraded} of {len(paths)} sockets connected, {self.closed} closed")
        return time.monotonic() - began

    def pump(self, limit_s: float, done: Callable[[Tally], bool] = lambda _: False, onto: Tally | None = None) -> Tally:
        """Receive until it is done, at most for so long. With `onto`, go on with that tally."""
        self._tally = tally = onto or Tally()
        began, cpu = time.monotonic(), time.process_time()
        while (left := began + limit_s - time.monotonic()) > 0 and not done(tally):
            self._turn(min(left, 0.05))
        tally.seconds += time.monotonic() - began
        tally.cpu_s += time.process_time() - cpu
        return tally

    def close(self) -> None:
        """Close every socket."""
        for peer in self._peers.values():
            peer.socket.close()
        self._peers.clear()
        self._epoll.close()

    def _open(self, path: str, number: int, sampled: bool) -> None:
        opened = socket.socket()
        opened.setblocking(False)
        # One source address has some 28,000 ports; several also spread the kernel's tables.
        opened.bind((f"127.0.0.{2 + number // _PER_SOURCE}", 0))
        opened.connect_ex(self._address)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {self._address[0]}:{self._address[1]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *self._headers,
        ]
        peer = _Peer(opened, sampled, rest="\r\n".join([*lines, "", ""]).encode())
        self._peers[opened.fileno()] = peer
        self._epoll.register(opened, select.EPOLLOUT)

    def _turn(self, timeout_s: float) -> None:
        for fd, mask in self._epoll.poll(timeout_s):
            peer = self._peers[fd]
            if mask & select.EPOLLOUT:
                self._begin(fd, peer)
            else:
                self._receive(fd, peer)

    def _begin(self, fd: int, peer: _Peer) -> None:
        try:
            peer.socket.send(peer.rest)
        except OSError:
            self._drop(fd, peer)
            return
        peer.rest = b""
        self._epoll.modify(fd, select.EPOLLIN)

    def _receive(self, fd: int, peer: _Peer) -> None:
        start = len(peer.rest)
        if start:
            self._buffer[:start] = peer.rest
        try:
            got = peer.socket.recv_into(self._view[start : start + 1024 * 1024])
        except BlockingIOError:
            return
        except OSError:
            got = 0
        if got == 0:
            self._drop(fd, peer)
            return
        used = self._frames(peer, 0, start + got) if peer.upgraded else self._answer(fd, peer, start + got)
        peer.rest = bytes(self._view[used : start + got]) if used < start + got else b""

    def _answer(self, fd: int, peer: _Peer, size: int) -> int:
        end = self._buffer.find(b"\r\n\r\n", 0, size)
        if end < 0:
            return 0
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            if not self.closed:
                print("  refused:", bytes(self._view[:size])[:400])
            self._drop(fd, peer)
            return size
        peer.upgraded = True
        self._upgraded += 1
        return self._frames(peer, end + 4, size)

    def _frames(self, peer: _Peer, at: int, size: int) -> int:
        """Count the whole frames in the buffer; return where the first unfinished one begins."""
        buffer, tally = self._buffer, self._tally
        while size - at >= 2:
            length, head = buffer[at + 1], 2
            if length == 126:
                length, head = (buffer[at + 2] << 8) | buffer[at + 3], 4
            elif length == 127:
                length, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            begin, end = at + head, at + head + length
            if end > size or begin > size:
                break
            opcode = buffer[at] & 15
            if opcode <= 2:
                tally.events += buffer.count(MARK, begin, end)
                tally.frames += 1
                if peer.sampled:
                    now = time.monotonic()
                    tally.latencies += [now - float(stamp) for stamp in _STAMP.findall(buffer, begin, end)]
            elif opcode == 9:
                # A pong masked with zeros carries the same bytes.
                peer.socket.send(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + bytes(self._view[begin:end]))
            at = end
        return at

    def _drop(self, fd: int, peer: _Peer) -> None:
        self.closed += 1
        self._epoll.unregister(fd)
        peer.socket.close()
        del self._peers[fd]
