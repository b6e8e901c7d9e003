"""One exec connection, dialled directly: agent frames out, commands in, never blocking longer than it is told to."""

from __future__ import annotations

import logging
import select
import ssl
import time
from collections.abc import Sequence
from typing import Any

from app.agent.records import wire_format
from app.domain.errors import LinkLost
from app.launch.kubernetes.link import websocket_frames

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 256 * 1024
PIECE_BYTES = 32 * 1024
SEND_WITHIN_S = 5.0


class ExecSocket:
    """A connected socket after its handshake. One thread uses it. Raises LinkLost from every method but `close`."""

    def __init__(self, connection: Any) -> None:
        """Take the socket over."""
        self._socket = connection
        self._socket.setblocking(False)
        self._channels, self._decoder = websocket_frames.Channels(), wire_format.Decoder()
        self.fd: int = connection.fileno()

    def receive(self) -> list[wire_format.Frame]:
        """Return the agent's frames that have arrived; [] when there are none."""
        found: list[wire_format.Frame] = []
        taken = 0
        while taken < RECEIVE_BYTES and (data := self._receive_bytes()):
            taken += len(data)
            try:
                for channel, payload in self._channels.feed(data):
                    found += self._on_message(channel, payload)
            except (websocket_frames.FrameError, wire_format.FrameError) as error:
                raise LinkLost(f"The connection to the agent is damaged: {error}.") from error
        return found

    def _receive_bytes(self) -> bytes:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            raise LinkLost(f"The connection to the agent broke: {error}.") from error
        if not data:
            raise LinkLost("The connection to the agent ended.")
        return bytes(data)

    def _on_message(self, channel: int, payload: bytes) -> Sequence[wire_format.Frame]:
        if channel == websocket_frames.STDOUT:
            return self._decoder.feed(payload)
        if channel == -websocket_frames.PING:
            self._write(websocket_frames.frame(websocket_frames.PONG, payload))
        elif channel == websocket_frames.STDERR and payload:
            logger.info("bridge: %s", payload[:500].decode(errors="replace").strip())
        elif channel in (websocket_frames.ERROR, -websocket_frames.CLOSE):
            raise LinkLost(f"The connection to the agent was ended: {payload[:500].decode(errors='replace')}")
        return ()

    def send(self, data: bytes) -> None:
        """Send bytes to the agent, all of them."""
        for start in range(0, len(data), PIECE_BYTES):
            self._write(
                websocket_frames.frame(
                    websocket_frames.BINARY, bytes([websocket_frames.STDIN]) + data[start : start + PIECE_BYTES]
                )
            )

    def _write(self, data: bytes) -> None:
        rest, until = memoryview(data), time.monotonic() + SEND_WITHIN_S
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as error:
                writable = select.poll()
                writable.register(self.fd, select.POLLOUT)
                if not writable.poll(max(0.0, until - time.monotonic()) * 1000):
                    raise LinkLost("The agent takes no commands.") from error
            except OSError as error:
                raise LinkLost(f"The connection to the agent broke: {error}.") from error

    def close(self) -> None:
        """Close the connection; the agent runs on."""
        self._socket.close()
