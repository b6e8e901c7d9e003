"""Frames survive any cutting of the stream, and a hostile length is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.records import wire_format

frames = st.lists(st.tuples(st.integers(0, 255), st.floats(0, 2e9), st.binary(max_size=300)), max_size=20)


@given(frames, st.integers(1, 50))
def test_frames_survive_any_cutting(sent, step):
    stream = b"".join(wire_format.encode(*frame) for frame in sent)
    decoder = wire_format.Decoder()
    seen = [frame for at in range(0, len(stream), step) for frame in decoder.feed(stream[at : at + step])]
    assert seen == sent
    assert decoder.pending == 0


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_arrive():
    decoder = wire_format.Decoder(max_payload=10)
    with pytest.raises(wire_format.FrameError):
        decoder.feed(wire_format.HEADER.pack(11, wire_format.Kind.STDOUT, 0.0))


def test_only_records_move_the_position():
    assert [kind for kind in wire_format.Kind if wire_format.spooled(kind)] == [1, 2, 3, 4, 5, 6, 7]
