"""One run's stream over a WebSocket: connecting, reading, reconnecting from where it broke. The rules are in follow.py.

`watch` is the one loop of every command that follows a run. It waits for the socket and for what a console watches beside it.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import websocket

from app.cli.client.backoff import retry_delay_s
from app.cli.client.follow import After, Event, Follower, Item, ProtocolFault, after_close, explain_close
from app.cli.client.refusal import refusal
from app.cli.client.target import Target
from app.cli.errors import Refused, Unreachable

CONNECT_TIMEOUT_S = 20.0
# The server pings every 25 s; a connection that says nothing for longer is dead although nobody told us.
SILENCE_S = 65.0
# Shorter outages than this are not worth a line in the terminal.
QUIET_OUTAGE_S = 2.0


class StreamOver(Exception):
    """The connection is over; `code` is the server's close code, None when it broke."""

    def __init__(self, code: int | None) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


class Side(Protocol):
    """What may happen beside the stream: input in the terminal, signals."""

    def fds(self) -> Sequence[int]:
        """Return the descriptors to wait for."""

    def ready(self, fd: int) -> None:
        """Handle a descriptor that became readable."""

    def say(self, message: str) -> None:
        """Show a sentence about the connection."""


class Stream:
    """A connected WebSocket. Not for several threads."""

    def __init__(self, target: Target, run_id: str, position: str) -> None:
        """Connect. Raises: Refused when the server declines, Unreachable."""
        address = "ws" + target.url.removeprefix("http")
        url = f"{address}/v1/runs/{quote(run_id, safe='')}/stream?position={position}"
        # Validation in pure Python costs more than all the rest; json.loads refuses wrong UTF-8 just as well.
        self._socket: Any = websocket.WebSocket(skip_utf8_validation=True)
        self._socket.settimeout(CONNECT_TIMEOUT_S)
        self.heard_at = time.monotonic()
        try:
            self._socket.connect(  # type: ignore[no-untyped-call]
                url,
                header=[f"Authorization: Bearer {target.token}"],
                suppress_origin=True,
                redirect_limit=0,
                # Otherwise the environment's proxy is asked, also for this very machine.
                socket=_direct_socket(target) if target.is_local else None,
            )
        except websocket.WebSocketBadStatusException as error:
            raise refusal(error.status_code, error.resp_body or b"", target.url) from error
        except (OSError, websocket.WebSocketException) as error:
            raise Unreachable(f"{target.url} cannot be reached: {error}.") from error

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return int(self._socket.fileno())

    def has_buffered(self) -> bool:
        """True when a read would not wait although the descriptor is not readable: TLS decrypts whole records."""
        sock = self._socket.sock
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def read(self, follower: Follower) -> list[Item]:
        """Read one frame and return what it tells. Raises: StreamOver, ProtocolFault."""
        try:
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except (OSError, websocket.WebSocketException) as error:
            raise StreamOver(None) from error
        self.heard_at = time.monotonic()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise StreamOver(int.from_bytes(frame.data[:2], "big") if len(frame.data) >= 2 else None)
        if opcode != websocket.ABNF.OPCODE_TEXT:
            return []
        try:
            decoded = json.loads(frame.data)
        except (ValueError, RecursionError) as error:
            raise ProtocolFault("a frame is not JSON") from error
        return follower.receive(decoded)

    def close(self) -> None:
        """Give the connection up. Idempotent."""
        self._socket.shutdown()


def _direct_socket(target: Target) -> socket.socket:
    parts = urlsplit(target.url)
    host, is_secure = str(parts.hostname), parts.scheme == "https"
    plain = socket.create_connection((host, parts.port or (443 if is_secure else 80)), CONNECT_TIMEOUT_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host) if is_secure else plain


def watch(target: Target, run_id: str, follower: Follower, show: Callable[[Item], None], side: Side) -> Event:
    """Show everything until the run's end event, through any number of connections, and return that event.

    Raises: Refused when the service says that there is no way on.
    """
    failures, lost_at, said = 0, time.monotonic(), False
    while follower.end is None:
        try:
            stream = Stream(target, run_id, str(follower.cursor))
        except (Refused, Unreachable) as error:
            if isinstance(error, Refused) and not error.worth_repeating and error.http_status != 429:
                raise
            if not said and time.monotonic() - lost_at > QUIET_OUTAGE_S:
                side.say(f"{error.detail} Trying again ...")
                said = True
            _pause(retry_delay_s(failures), side)
            failures += 1
            continue
        before = follower.cursor
        code = _read_all(stream, follower, show, side)
        if after_close(code, follower) is After.REFUSED:
            raise Refused(0, {}, explain_close(code))
        failures = 0 if follower.cursor != before else failures + 1
        lost_at, said = time.monotonic(), False
        if follower.end is None:
            _pause(retry_delay_s(failures), side)
    return follower.end


def _read_all(stream: Stream, follower: Follower, show: Callable[[Item], None], side: Side) -> int | None:
    """Read until the connection is over, and return its close code."""
    try:
        while follower.end is None:
            wait_s = stream.heard_at + SILENCE_S - time.monotonic()
            if wait_s <= 0:
                return None
            ready = _wait([stream.fileno(), *side.fds()], 0.0 if stream.has_buffered() else wait_s)
            for fd in ready:
                if fd != stream.fileno():
                    side.ready(fd)
            if stream.has_buffered() or stream.fileno() in ready:
                for item in stream.read(follower):
                    show(item)
        return None
    except StreamOver as over:
        return over.code
    except ProtocolFault:
        return None
    finally:
        stream.close()


def _pause(duration_s: float, side: Side) -> None:
    """Wait, without being deaf to the console."""
    until = time.monotonic() + duration_s
    while (left := until - time.monotonic()) > 0:
        for fd in _wait(list(side.fds()), left):
            side.ready(fd)


def _wait(fds: list[int], timeout_s: float) -> list[int]:
    return select.select(fds, [], [], timeout_s)[0]
