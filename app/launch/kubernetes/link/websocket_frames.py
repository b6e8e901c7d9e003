"""WebSocket frames (RFC 6455) as an exec connection needs them, and the channels inside. Bytes in, messages out: no I/O here.

websocket-client makes the handshake; its reader copies too much for a stream of output, so frames are cut here.
"""

from __future__ import annotations

import os
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
MAX_FRAME = 64 * 1024 * 1024

Message = tuple[int, bytes]


class FrameError(ValueError):
    """What arrived is no frame that a server may send."""


class FrameReader:
    """Cuts a stream of bytes into (opcode, payload). The pieces of a fragmented message come one by one."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the frames that are complete now. Raises: FrameError."""
        rest, start, found = self._rest, 0, []
        rest += data
        with memoryview(rest) as view:
            while (frame := _head(rest, start)) is not None:
                opcode, begin, end = frame
                if end > len(rest):
                    break
                found.append((opcode, bytes(view[begin:end])))
                start = end
        del rest[:start]
        return found


def _head(data: bytearray, start: int) -> tuple[int, int, int] | None:
    """Return (opcode, where the payload begins, where it ends) of the frame at `start`; None while its head is incomplete."""
    if len(data) < start + 2:
        return None
    first, size, begin = data[start], data[start + 1], start + 2
    if size & 0x80 or first & 0x70:
        raise FrameError("a masked frame, or one of an extension that was not agreed on")
    if size >= 126:
        form = ">H" if size == 126 else ">Q"
        begin += struct.calcsize(form)
        if len(data) < begin:
            return None
        size = struct.unpack_from(form, data, start + 2)[0]
    if size > MAX_FRAME:
        raise FrameError(f"a frame of {size} bytes")
    return first & 0x0F, begin, begin + size


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame: whole, and masked as clients must."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += struct.pack(">BH", 0x80 | 126, size)
    else:
        head += struct.pack(">BQ", 0x80 | 127, size)
    mask = os.urandom(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


class Channels:
    """Splits the messages of an exec connection by their first byte, the channel."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._channel = STDOUT

    def feed(self, data: bytes) -> list[Message]:
        """Return (channel, bytes), and (-opcode, payload) for PING and CLOSE. Raises: FrameError."""
        found = []
        for opcode, payload in self._reader.feed(data):
            if opcode in (PING, CLOSE):
                found.append((-opcode, payload))
            elif opcode == CONTINUATION:
                found.append((self._channel, payload))
            elif opcode in (TEXT, BINARY) and payload:
                self._channel = payload[0]
                found.append((self._channel, payload[1:]))
        return found
