"""WebSocket frames and exec channels, fed in every piece."""

from __future__ import annotations

import random
import struct

import pytest

from app.launch.kubernetes.link.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    Channels,
    FrameError,
    FrameReader,
    frame,
)


def served(opcode: int, payload: bytes) -> bytes:
    """Return a server's frame, which is not masked."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    return head + (struct.pack(">BH", 126, size) if size < 65536 else struct.pack(">BQ", 127, size)) + payload


@pytest.mark.parametrize("seed", range(20))
def test_frames_come_whole_however_the_bytes_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [0, 1, 125, 126, 127, 65535, 65536, 70000]
    sent = [(BINARY, chance.randbytes(chance.choice(sizes))) for _ in range(12)]
    data = b"".join(served(*each) for each in sent)
    reader, found, at = FrameReader(), [], 0
    while at < len(data):
        step = chance.choice([1, 2, 5, 1000, 100_000])
        found += reader.feed(data[at : at + step])
        at += step
    assert found == sent


def test_channels() -> None:
    data = served(BINARY, b"\x01out") + served(CONTINUATION, b" more") + served(BINARY, b"\x02err") + served(PING, b"p")
    assert Channels().feed(data) == [(1, b"out"), (1, b" more"), (2, b"err"), (-PING, b"p")]
    assert Channels().feed(served(BINARY, b"") + served(CLOSE, b"\x03\xe8bye")) == [(-CLOSE, b"\x03\xe8bye")]


@pytest.mark.parametrize("data", [b"\x82\x81abcdx", b"\xc2\x00", b"\x82\x7f" + b"\xff" * 8])
def test_what_no_server_sends_is_noticed(data: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(data)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_clients_frame_is_masked(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    made = frame(BINARY, payload)
    head = 2 + (0 if size < 126 else 2 if size < 65536 else 8)
    mask, body = made[head : head + 4], made[head + 4 :]
    assert made[0] == 0x82 and made[1] & 0x80
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(body)) == payload
