"""The recorder loses nothing, keeps order, and cuts where it should."""

from hypothesis import given
from hypothesis import strategies as st

from app.agent.records.recorder import GATHER_S, Cap, Recorder, unfinished
from app.agent.records.wire_format import MAX_OUTPUT

reads = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=40), st.floats(0, 0.1)), max_size=40)
characters = st.lists(st.sampled_from(["a", "é", "€", "😀", "\r", "\n"]), max_size=200)


class Sink:
    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []
        self.recorder = Recorder(lambda kind, data: self.records.append((kind, data)))

    def bytes_of(self, kind: int) -> bytes:
        return b"".join(data for k, data in self.records if k == kind)


@given(reads)
def test_every_byte_is_recorded_once_and_in_order(reads):
    sink, now = Sink(), 0.0
    for kind, data, pause in reads:
        now += pause
        sink.recorder.tick(now)
        sink.recorder.feed(kind, data, now)
    sink.recorder.flush(now, everything=True)
    for kind in (1, 2):
        assert sink.bytes_of(kind) == b"".join(data for k, data, _ in reads if k == kind)
    assert all(0 < len(data) <= MAX_OUTPUT for _, data in sink.records)
    assert sink.recorder.due() is None


@given(characters, st.integers(1, 7))
def test_no_character_is_cut_however_it_was_read(characters, step):
    text = "".join(characters).encode()
    sink, now = Sink(), 0.0
    for at in range(0, len(text), step):
        now += 0.01
        sink.recorder.tick(now)
        sink.recorder.feed(1, text[at : at + step], now)
    sink.recorder.tick(now + 1)
    assert "".join(data.decode() for _, data in sink.records).encode() == text


def test_a_large_read_of_characters_is_cut_between_them():
    sink = Sink()
    sink.recorder.feed(1, b"x" + "😀".encode() * 40_000, 0.0)
    assert [len(data) for _, data in sink.records] == [65533, 65536, 28932]
    for _, data in sink.records:
        data.decode()


def test_the_first_bytes_after_silence_are_recorded_at_once_and_the_next_are_gathered():
    sink = Sink()
    sink.recorder.feed(1, b"first", 10.0)
    assert sink.records == [(1, b"first")]
    sink.recorder.feed(1, b"se", 10.01)
    sink.recorder.feed(1, b"cond", 10.02)
    sink.recorder.tick(10.03)
    assert len(sink.records) == 1
    assert sink.recorder.due() == 10.0 + GATHER_S
    sink.recorder.tick(10.0 + GATHER_S)
    assert sink.records[1:] == [(1, b"second")]
    sink.recorder.feed(1, b"later", 11.0)
    assert sink.records[2:] == [(1, b"later")]


def test_what_was_read_alternately_is_recorded_alternately():
    sink = Sink()
    sink.recorder.feed(1, b".", 0.0)
    for kind, data in ((1, b"a"), (2, b"b"), (2, b"c"), (1, b"d")):
        sink.recorder.feed(kind, data, 0.001)
    sink.recorder.flush(0.002)
    assert sink.records[1:] == [(1, b"a"), (2, b"bc"), (1, b"d")]


def test_half_a_character_waits_for_its_rest_but_not_for_long():
    sink = Sink()
    sink.recorder.feed(1, b"a\xf0\x9f", 1.0)
    assert sink.records == [(1, b"a")]
    sink.recorder.tick(1.0 + GATHER_S)
    assert sink.records == [(1, b"a"), (1, b"\xf0\x9f")]


def test_bytes_that_are_no_text_do_not_wait():
    assert [unfinished(data) for data in (b"", b"\xff", b"\xc0", b"\xf5", b"\x80\x80\x80", b"\xed\xa0\x80")] == [0] * 6
    assert [unfinished(data) for data in (b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98", b"\xe2")] == [1, 2, 3, 1]


@given(st.lists(st.binary(max_size=30), max_size=30), st.integers(0, 300))
def test_the_cap_is_exact_and_told_once(pieces, limit):
    cap, whole = Cap(limit), b"".join(pieces)
    admitted = [cap.admit(piece) for piece in pieces]
    assert b"".join(kept for kept, _ in admitted) == whole[:limit]
    assert cap.recorded == min(limit, len(whole))
    assert cap.withheld == len(whole) - cap.recorded
    assert sum(told for _, told in admitted) == (1 if len(whole) > limit else 0)
