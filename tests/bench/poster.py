"""The HTTP load client: a bounded number of requests over a few keep-alive connections in one epoll loop.

It knows nothing of the servers.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_BUFFER = 256 * 1024


@dataclass(slots=True)
class Posted:
    """What became of the requests: latencies and the whole, in seconds, and how often each status came."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    sample: bytes = b""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Line:
    socket: socket.socket
    sent_at: float = 0.0
    rest: bytes = b""


def request(method: str, path: str, port: int, headers: Sequence[str], body: bytes) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *headers, f"Content-Length: {len(body)}", "", ""]).encode() + body


def post(port: int, requests: Iterator[bytes], connections: int) -> Posted:
    """Send all the requests, `connections` at a time; a connection that the server closes is opened again."""
    posted, epoll, lines = Posted(), select.epoll(), {}
    began = time.monotonic()
    for _ in range(connections):
        _next(epoll, lines, _Line(_dial(port)), requests)
    while lines:
        for fd, _ in epoll.poll(5.0):
            line = lines.pop(fd)
            data = line.socket.recv(_BUFFER)
            line.rest += data
            if data and not _complete(line.rest):
                lines[fd] = line
                continue
            epoll.unregister(fd)
            if data:
                posted.latencies.append(time.monotonic() - line.sent_at)
                posted.statuses[int(line.rest[9:12])] += 1
                posted.sample = line.rest
            if not data or b"connection: close" in line.rest[:1000].lower():
                line.socket.close()
                line.socket = _dial(port)
            line.rest = b""
            _next(epoll, lines, line, requests)
    posted.seconds = time.monotonic() - began
    epoll.close()
    return posted


def _dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def _next(epoll: select.epoll, lines: dict[int, _Line], line: _Line, requests: Iterator[bytes]) -> None:
    body = next(requests, None)
    if body is None:
        line.socket.close()
        return
    line.sent_at = time.monotonic()
    line.socket.sendall(body)
    lines[line.socket.fileno()] = line
    epoll.register(line.socket, select.EPOLLIN)


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    for text in head.split(b"\r\n")[1:]:
        name, _, value = text.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
        if name.lower() == b"transfer-encoding":
            return body.endswith(b"0\r\n\r\n")
    return True
