"""The feed's rules without any server: whatever order things come in, a cursor gets the log as it is, once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ports import ArchiveState, Head
from app.domain.runs.events import Entry, Kind, Position, encode
from app.live.batch import Batch, Reset, text_frame
from app.live.feed import MISS_PAUSE_S, Behind, Effect, Feed, Ring
from app.live.names import Announcement, parse_announcement, stamp


def payload(epoch: int, seq: int, kind: Kind = Kind.NOTICE) -> bytes:
    return encode(epoch, seq, 1.5, kind, {"message": "x" * 20})


def payloads(epoch: int, first: int, last: int) -> tuple[bytes, ...]:
    return tuple(payload(epoch, seq) for seq in range(first, last + 1))


def entries(epoch: int, first: int, last: int) -> list[Entry]:
    return [Entry(seq, payload(epoch, seq)) for seq in range(first, last + 1)]


def feed(seq: int = 0, *, ring_bytes: int = 10_000, batch_bytes: int = 1_000, ended: bool = False) -> Feed:
    return Feed("r", ArchiveState(1, seq, ((1, 0),), ended), ring_bytes=ring_bytes, batch_bytes=batch_bytes)


def hear(on: Feed, epoch: int, first: int, last: int) -> Effect:
    effect = on.on_announcement(Announcement(epoch, first, payloads(epoch, first, last)))
    on.show(0.0)
    return effect


def seqs(found: object) -> list[int]:
    assert isinstance(found, Batch)
    return [stamp(payload)[0].seq for payload in found.payloads]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 6)), max_size=40), st.integers(0, 40))
def test_a_ring_never_holds_a_gap_whatever_is_offered(offers: list[tuple[int, int]], after: int) -> None:
    ring = Ring(600)
    for seq, count in offers:
        top = ring.top
        ring.offer(seq, payloads(1, seq, seq + count - 1))
        assert ring.top == max(top, seq + count - 1)
        assert ring.size <= 600
    if ring.base <= after < ring.top:
        taken, _ = ring.take(after, ring.top, 10**6)
        assert [stamp(payload)[0].seq for payload in taken] == list(range(after + 1, ring.top + 1))


def test_live_events_come_from_memory_in_shared_batches() -> None:
    on = feed()
    assert on.look(Position(), 0.0) is None
    assert hear(on, 1, 1, 3) is Effect.NEWS
    first = on.look(Position(), 0.0)
    assert seqs(first) == [1, 2, 3]
    assert on.look(Position(1, 0), 0.0) is first
    assert on.look(Position(1, 3), 0.0) is None


def test_nothing_is_shown_between_the_paced_moments() -> None:
    on = feed()
    news = on.news
    on.on_announcement(Announcement(1, 1, payloads(1, 1, 3)))
    assert on.look(Position(), 0.0) is None and not news.is_set()
    on.show(1.0)
    assert seqs(on.look(Position(), 0.0)) == [1, 2, 3] and news.is_set() and not on.news.is_set()


def test_duplicates_are_dropped_and_a_gap_must_be_fetched() -> None:
    on = feed()
    hear(on, 1, 1, 3)
    assert hear(on, 1, 2, 3) is Effect.NOTHING
    hear(on, 1, 6, 7)
    asked = on.look(Position(1, 3), 0.0)
    assert asked == Behind(1, 3, True, 0.0)
    assert on.fetched(asked, entries(1, 5, 7)) is Effect.NOTHING, "it does not follow on"
    assert seqs(on.fetched(asked, entries(1, 4, 7))) == [4, 5, 6, 7]
    assert seqs(on.look(Position(1, 3), 0.0)) == [4, 5, 6, 7], "the next cursor need not fetch"


def test_what_one_cursor_fetched_before_it_was_announced_is_shown_to_all_when_it_is() -> None:
    on = feed()
    hear(on, 1, 1, 3)
    hear(on, 1, 6, 7)
    asked = on.look(Position(1, 3), 0.0)
    assert isinstance(asked, Behind)
    on.fetched(asked, [*entries(1, 4, 8), Entry(9, payload(1, 9, Kind.END))])
    assert on.look(Position(1, 7), 0.0) is None
    assert on.on_announcement(Announcement(1, 8, (payload(1, 8), payload(1, 9, Kind.END)))) is Effect.NEWS
    on.show(1.0)
    assert seqs(on.look(Position(1, 7), 0.0)) == [8, 9]


def test_large_pages_are_cut_and_kept_for_the_others() -> None:
    on = feed(100)
    asked = on.look(Position(), 0.0)
    assert isinstance(asked, Behind)
    on.fetched(asked, entries(1, 1, 100))
    at, got = Position(), []
    while (found := on.look(at, 0.0)) is not None:
        assert isinstance(found, Batch) and len(found.frame) < 1_200
        got += seqs(found)
        at = found.last
    assert got == list(range(1, 101))


def test_of_a_page_larger_than_what_is_kept_its_beginning_is_kept_and_less_is_asked_for() -> None:
    on = feed(100, ring_bytes=1_000, batch_bytes=500)
    asked = on.look(Position(1, 0), 0.0)
    assert isinstance(asked, Behind)
    first = on.fetched(asked, entries(1, 1, 100))
    assert isinstance(first, Batch)
    assert isinstance(on.look(first.last, 0.0), Batch), "what comes next is there already"
    behind = on.look(Position(1, 50), 0.0)
    assert isinstance(behind, Behind)
    assert behind.entries < 50


def test_what_nobody_has_is_not_asked_for_all_the_time() -> None:
    on = feed(5)
    on.missed(2, 10.0)
    found = on.look(Position(1, 2), 10.0)
    assert isinstance(found, Behind) and found.wait_s == pytest.approx(MISS_PAUSE_S)
    later = on.look(Position(1, 2), 10.0 + MISS_PAUSE_S)
    assert isinstance(later, Behind) and later.wait_s == 0
    on.on_announcement(Announcement(1, 3, payloads(1, 3, 5)))
    assert seqs(on.look(Position(1, 2), 10.0)) == [3, 4, 5], "sent again: at once"


def test_below_the_floor_the_archive_comes_first() -> None:
    on = feed(10)
    on.observe(Head(1, 1, 20, 8, "s"), None)
    on.show(0.0)
    assert on.look(Position(1, 7), 0.0) == Behind(1, 7, False, 0.0)
    assert on.look(Position(1, 8), 0.0) == Behind(1, 8, True, 0.0)


def test_of_a_higher_epoch_nothing_is_shown_before_its_base_is_known() -> None:
    on = feed(4)
    hear(on, 1, 5, 9)
    assert hear(on, 2, 7, 12) is Effect.ASK
    assert not on.observe(Head(2, 2, 12, 6, "s"), None)
    assert on.look(Position(1, 9), 0.0) is None
    assert on.observe(Head(2, 2, 12, 6, "s"), ArchiveState(2, 6, ((1, 0), (2, 6)), False))
    on.show(0.0)
    assert on.look(Position(1, 9), 0.0) == Reset(2, 6)
    assert on.look(Position(1, 6), 0.0) == Behind(2, 6, True, 0.0), "nothing that it saw was dropped"
    assert hear(on, 1, 10, 11) is Effect.NOTHING, "a late word of the former writer"


def test_a_page_of_another_epoch_than_the_cursor_was_checked_for_is_refused() -> None:
    on = feed(4)
    hear(on, 1, 5, 9)
    asked = Behind(1, 9, False, 0.0)
    assert on.fetched(asked, entries(2, 10, 12)) is Effect.ASK
    on.observe(None, ArchiveState(2, 12, ((1, 0), (2, 6)), False))
    assert on.fetched(asked, entries(2, 10, 12)) is Effect.NOTHING, "the epoch was learned while it was fetched"


def test_the_end_is_delivered_once_and_only_with_everything_before_it() -> None:
    on = feed()
    hear(on, 1, 1, 2)
    on.on_announcement(Announcement(1, 5, (payload(1, 5, Kind.END),)))
    on.show(0.0)
    assert on.ended
    assert isinstance(on.look(Position(1, 2), 0.0), Behind)
    last = on.look(Position(1, 4), 0.0)
    assert seqs(last) == [5] and last.ended  # type: ignore[union-attr]
    assert on.look(Position(1, 5), 0.0) == Batch((), Position(1, 5), True, b"")
    assert on.look(Position(1, 6), 0.0) == Reset(1, 0), "that position never was"


@pytest.mark.parametrize(("size", "start"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_frames_say_their_length(size: int, start: int) -> None:
    frame = text_frame(b"x" * size)
    length = frame[1] if start == 2 else int.from_bytes(frame[2:start], "big")
    assert (frame[0], length, frame[start:]) == (0x81, size, b"x" * size)
    assert start == 2 or frame[1] == {4: 126, 10: 127}[start]


def test_a_stamp_says_what_the_event_says() -> None:
    for kind in Kind:
        event = json.loads(payload(3, 77, kind))
        assert stamp(payload(3, 77, kind)) == (Position(event["epoch"], event["seq"]), event["kind"])
    with pytest.raises(ValueError, match="not an event"):
        stamp(b'{"seq":1,"epoch":1}')


def test_announcements_are_read_back() -> None:
    assert parse_announcement(b"2 7\n{1}\n{2}") == Announcement(2, 7, (b"{1}", b"{2}"))
    assert parse_announcement(b"2 7") == Announcement(2, 7, ())
    with pytest.raises(ValueError):
        parse_announcement(b"nonsense")
