"""The frames that the agent speaks, one form for the spool file and for the connection. Bytes in, frames out: no I/O here.

A frame is a header (payload length, kind, time in seconds since the epoch) and a payload. Kinds below 64 are spooled records:
their bytes on the connection are their bytes in the spool, so a client at position P that receives one is at P + len(frame).
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct(">IBd")
MAX_PAYLOAD = 1024 * 1024
MAX_OUTPUT = 64 * 1024
HEARTBEAT_S = 5.0


class Kind(IntEnum):
    """What a frame is: a spooled record (< 64), a command to the agent (64-127) or a message that is not spooled (128 and up)."""

    STDOUT = 1
    STDERR = 2
    QUESTION = 3
    NOTICE = 4
    EXIT = 5
    STARTED = 6
    TAKEN = 7

    FOLLOW = 64
    REPLY = 65
    INPUT = 66
    SIGNAL = 67
    FINISH = 68
    FILE = 69
    START = 70
    EXITED = 71
    NOTE = 72
    LEAVING = 73

    HEARTBEAT = 128
    ACK = 129
    USE = 130
    EVIDENCE = 131  # never from an agent: what a link found out about the place of the attempt
    HELD = 132  # never from an agent: what the attempt's start waits for, as a link sees it
    ARTEFACT = 133  # these three are of gather.py, on a connection of its own
    CONTENT = 134
    GATHERED = 135


Frame = tuple[int, float, bytes]


class FrameError(ValueError):
    """What arrived is not a frame: it claims a length that no frame has."""


def spooled(kind: int) -> bool:
    """Say whether frames of this kind are records of the spool, and so move a client's position."""
    return kind < 64


def encode(kind: int, time: float, payload: bytes) -> bytes:
    """Return the frame's bytes."""
    return HEADER.pack(len(payload), kind, time) + payload


class Decoder:
    """Cuts a stream of bytes into frames. Feed it whatever arrives; it keeps an incomplete frame until the rest is there."""

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._max_payload = max_payload
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now, as (kind, time, payload).

        Raises: FrameError; the stream is of no use after it.
        """
        rest, frames, start = self._rest, [], 0
        rest += data
        # Through a view, every payload is copied once.
        with memoryview(rest) as view:
            while len(rest) - start >= HEADER.size:
                length, kind, time = HEADER.unpack_from(rest, start)
                if length > self._max_payload:
                    raise FrameError(f"A frame of {length} bytes; at most {self._max_payload} are accepted.")
                end = start + HEADER.size + length
                if end > len(rest):
                    break
                frames.append((kind, time, bytes(view[start + HEADER.size : end])))
                start = end
        del rest[:start]
        return frames

    @property
    def pending(self) -> int:
        """How many bytes of an incomplete frame are kept."""
        return len(self._rest)
