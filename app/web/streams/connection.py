"""One WebSocket connection as bytes: whole frames out under a lock, text messages in, pings, the closing handshake.

What a run's messages mean is in protocol.py. Only `threading` is used, so it runs on threads and, patched, on greenlets.
"""

from __future__ import annotations

import _thread
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import simple_websocket
from wsproto.connection import Connection as Parser
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from app.domain.errors import BadRequest
from app.live.batch import text_frame
from app.web.streams.close_codes import CloseCode, Violation

SILENCE_S = 20.0
CLOSING_S = 3.0
RECEIVE_BYTES = 4096
MAX_MESSAGE_BYTES = 64 * 1024
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==\Z")
_SOCKET_KEYS = ("werkzeug.socket", "gunicorn.socket", "wsgi.input", "SERVER_SOFTWARE")


class ConnectionClosed(simple_websocket.ConnectionClosed):  # type: ignore[misc]
    """The connection takes nothing more."""


def check_handshake(environ: Mapping[str, Any]) -> None:
    """Look whether the request can become a WebSocket (RFC 6455, section 4.2.1). Raises: BadRequest."""
    if environ["REQUEST_METHOD"] != "GET":
        raise BadRequest("A WebSocket handshake is a GET.")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13" or not _KEY.match(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        raise BadRequest("This address needs a WebSocket handshake of version 13.")


class PriorityLock:
    """A lock under which replies and control frames pass by output, which would otherwise take it again and again."""

    def __init__(self) -> None:
        """Free."""
        self._lock = threading.Lock()
        # Counts by its length: unlike a number, a list grows and shrinks atomically.
        self._urgent: list[None] = []

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Hold the lock next."""
        self._urgent.append(None)
        self._lock.acquire()
        self._urgent.pop()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def normal(self) -> Iterator[None]:
        """Hold the lock once nobody urgent waits for it."""
        while self._urgent:
            # Neither threads nor greenlets hand a lock on to who waits longest.
            time.sleep(0)
        with self._lock:
            yield

    @contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Hold the lock if nobody does; yields whether."""
        free = self._lock.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._lock.release()


class _NullEvent:
    """Stands in for the library's event, which nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


class _NullThread:
    """Stands in for the library's reading thread: the thread of the request reads, so that a socket costs one thread less."""

    def __init__(self, target: object) -> None:
        self.name = ""

    def start(self) -> None:
        """Start nothing."""


class Connection(simple_websocket.Server):  # type: ignore[misc]
    """The library's handshake and parser with our own reading and writing.

    It ignores partial writes and has no lock, so bytes of two writers could mix; it grants compression (200 KB a socket)
    to whoever asks; and it keeps a selector per socket. `messages` and `wait_for_close` are for one thread, the rest for any.
    """

    def __init__(self, environ: Mapping[str, Any], silence_s: float = SILENCE_S) -> None:
        """Shake hands on the socket of the checked request. A peer that is silent for twice `silence_s`, or takes nothing
        for `silence_s` seconds while something is to be sent, is given up."""
        self._lock = PriorityLock()
        self._gone = False
        self._close_sent = False
        self._input_ended = False
        self._incoming: Iterator[str | None] | None = None
        self._pinged = False
        self._parts: list[str] = []
        self._size = 0
        super().__init__(_handshake(environ), thread_class=_NullThread, event_class=_NullEvent)
        # What was needed for the handshake is most of an idle socket's memory.
        self.environ = None
        self.ws: Parser = vars(self)["ws"].connection
        self.sock.settimeout(silence_s)

    @property
    def over(self) -> bool:
        """True when nothing can be sent any more."""
        return self._close_sent or self._gone

    def send_frames(self, frames: tuple[bytes, ...], *, urgent: bool = False) -> None:
        """Send complete frames, in one piece with respect to every other sender. Raises: ConnectionClosed."""
        if not frames:
            return
        with self._lock.urgent() if urgent else self._lock.normal():
            if self.over:
                raise ConnectionClosed
            for frame in frames:
                self._write(frame)

    def messages(self) -> Iterator[str | None]:
        """Yield each text message, and None whenever nothing came for a while, until the connection is over.

        Raises: Violation.
        """
        while (data := self._receive()) != b"":
            if data is None:
                yield None
                continue
            self.ws.receive_data(data)
            for event in self.ws.events():
                if isinstance(event, CloseConnection):
                    self._input_ended = True
                    return self._answer_close(event)
                yield from self._on_event(event)
        # Left without a close frame, or cut: it takes nothing more either.
        self._input_ended = self._gone = True

    def send(self, text: str) -> None:
        """Send a text message, as flask-sock's handlers do. Raises: ConnectionClosed."""
        self.send_frames((text_frame(text.encode()),))

    def receive(self) -> str:
        """Return the next text message, however long it takes, for flask-sock's handlers. Raises: ConnectionClosed, Violation."""
        if self._incoming is None:
            self._incoming = self.messages()
        for text in self._incoming:
            if text is not None:
                return text
        raise ConnectionClosed

    def close(self, code: int = CloseCode.ENDED, reason: str = "") -> None:
        """Send the close frame behind what is being sent, and give the peer a moment to answer it. Idempotent."""
        with self._lock.urgent():
            if self.over:
                return
            self._close_sent = True
            try:
                self._write(self.ws.send(CloseConnection(int(code), reason or None)))
            except (LocalProtocolError, ConnectionClosed):
                return
        _thread.start_new_thread(self._abort_unless_gone, ())

    def abort(self) -> None:
        """Cut the connection: whoever reads or writes on it is woken. Idempotent."""
        self._gone = True
        try:
            self.sock.shutdown(2)
        except OSError:
            # It is cut already.
            return

    def wait_for_close(self) -> None:
        """After our close frame: wait for the peer's, and drop what else comes. Ends with the connection, soon."""
        while not self._input_ended and (data := self._receive()) != b"":
            if data is None:
                continue
            self.ws.receive_data(data)
            if any(isinstance(event, CloseConnection) for event in self.ws.events()):
                return

    def finish(self) -> None:
        """Close the connection: nobody reads it any more, and whoever still sends gets ConnectionClosed."""
        self.abort()
        self.sock.close()

    def _abort_unless_gone(self) -> None:
        deadline = time.monotonic() + CLOSING_S
        while not self._gone and time.monotonic() < deadline:
            time.sleep(0.1)
        self.abort()

    def _receive(self) -> bytes | None:
        """Return received bytes, b"" at the end, None after a silence."""
        try:
            data: bytes = self.sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            return None if self._heartbeat() else b""
        except OSError:
            return b""
        self._pinged = False
        return data

    def _heartbeat(self) -> bool:
        """Ping a silent peer; False when it did not even answer the last ping."""
        if self._pinged:
            self.abort()
            return False
        # Somebody who is writing at this moment finds out by himself whether the peer is there.
        with self._lock.try_lock() as free:
            if not free or self._close_sent:
                return True
            self._pinged = True
            try:
                self._write(self.ws.send(Ping()))
            except ConnectionClosed:
                return False
        return True

    def _on_event(self, event: Event) -> Iterator[str]:
        if isinstance(event, Ping):
            self._pong(event)
        elif isinstance(event, BytesMessage):
            raise Violation(CloseCode.BINARY, "only text frames are understood")
        elif isinstance(event, TextMessage):
            self._size += len(event.data.encode())
            if self._size > MAX_MESSAGE_BYTES:
                raise Violation(CloseCode.TOO_BIG, f"messages end at {MAX_MESSAGE_BYTES} bytes")
            self._parts.append(event.data)
            if event.message_finished:
                text = "".join(self._parts)
                self._parts, self._size = [], 0
                yield text

    def _pong(self, ping: Ping) -> None:
        with self._lock.urgent():
            if not self._close_sent:
                self._write(self.ws.send(ping.response()))

    def _answer_close(self, event: CloseConnection) -> None:
        """Complete the closing handshake, whether the peer began it, answers ours, or broke the rules of RFC 6455."""
        with self._lock.urgent():
            if not self._close_sent and self.ws.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
                self._close_sent = True
                try:
                    self._write(self.ws.send(event.response()))
                except (LocalProtocolError, ConnectionClosed):
                    return

    def _write(self, data: bytes) -> None:
        """Write all of it. The socket's timeout is the deadline for each step forward, so a slow peer is not a stuck one."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self.sock.send(rest) :]
        except OSError as error:
            # A frame may be half written: nothing sensible can follow it.
            self.abort()
            raise ConnectionClosed from error


def _handshake(environ: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the request the handshake needs: without extensions and subprotocols, which are declined thereby."""
    sockets = {key: environ[key] for key in _SOCKET_KEYS if key in environ}
    for name in _SOCKET_KEYS[:2]:
        if name in sockets:
            # The server closes its own copy when it is done with the request.
            sockets[name] = sockets[name].dup()
    return {
        **sockets,
        "HTTP_HOST": "podwire",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": environ["HTTP_SEC_WEBSOCKET_KEY"],
    }
