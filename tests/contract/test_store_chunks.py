"""The archive: no gap, no second writer, epochs that tell readers what still holds, and output by byte offsets."""

from __future__ import annotations

import random

import pytest

from app.domain.errors import Fenced
from app.domain.ports import ArchiveState
from app.domain.runs.events import Entry, Kind, Position, encode, output_fields, resume_point
from app.domain.runs.run import Progress
from app.store.log.chunks import Chunk


class Writer:
    """Makes the chunks of a log, as a supervisor does."""

    def __init__(self, epoch=1, seq=0, offset=0):
        self.epoch, self.seq, self.offset, self.written = epoch, seq, offset, b""

    def chunk(self, *pieces):
        entries, first = [], self.offset
        for piece in pieces:
            self.seq += 1
            fields = {"code": "note"} if piece is None else output_fields("stdout", self.offset, piece)
            kind = Kind.NOTICE if piece is None else Kind.OUTPUT
            entries.append(Entry(self.seq, encode(self.epoch, self.seq, 1.0, kind, fields), spool=10 * self.seq))
            self.offset += len(piece or b"")
            self.written += piece or b""
        return Chunk.pack(entries, self.epoch, first, self.offset, 10 * self.seq), self.progress

    @property
    def progress(self):
        return Progress(self.epoch, self.seq, self.offset, 10 * self.seq)


def test_a_chunk_holds_the_payloads_byte_for_byte():
    chunk, _ = Writer().chunk(b"line\n", b"\xff\x00", None, "ü\u2028".encode())
    again = Chunk.pack(chunk.unpack(), 1, chunk.first_offset, chunk.last_offset, chunk.spool)
    assert again == chunk and [e.seq for e in chunk.unpack()] == [1, 2, 3, 4]
    assert (chunk.first_seq, chunk.last_seq, chunk.first_offset, chunk.last_offset) == (1, 4, 0, 12)


def test_the_archive_is_read_from_any_seq_without_gaps(house):
    run, writer = house.running(), Writer()
    for size in (1, 5, 2, 30, 1):
        house.store.log.archive(run.id, run.token, *writer.chunk(*[b"x"] * size))
    assert house.store.runs.get(run.id).archived == writer.progress
    for after in range(41):
        for limit in (1, 3, 100):
            got = [e.seq for e in house.store.log.read(run.id, after, limit)]
            assert got == list(range(after + 1, min(39, after + limit) + 1))
    assert house.store.log.read("nobody", 0, 10) == [] and house.store.log.archive_state("nobody") is None
    assert house.store.log.archive_state(run.id) == ArchiveState(1, 39, ((1, 0),), False)


def test_gaps_and_old_tokens_are_refused(house):
    run, writer = house.claimed(lease_s=-1.0), Writer()
    house.store.log.archive(run.id, run.token, *writer.chunk(b"a"))
    writer.chunk(b"lost")
    with pytest.raises(Fenced):
        house.store.log.archive(run.id, run.token, *writer.chunk(b"b"))
    taken = house.store.leases.claim(run.id, "p2", 60)
    late = Writer(seq=1, offset=1).chunk(b"late")
    with pytest.raises(Fenced):
        house.store.log.archive(run.id, run.token, *late)
    with pytest.raises(Fenced):
        house.store.log.open_epoch(run.id, run.token)
    house.store.log.archive(run.id, taken.token, *late)
    house.ended(house.store.runs.get(run.id))
    with pytest.raises(Fenced):
        house.store.log.archive(run.id, taken.token, *Writer(seq=2, offset=5).chunk(b"after the end"))
    assert [e.seq for e in house.store.log.read(run.id, 0, 10)] == [1, 2]


def test_what_was_archived_before_a_lost_answer_is_skipped(house):
    run = house.running()
    first, progress = Writer().chunk(b"one", b"two")
    longer, further = Writer().chunk(b"one", b"two", b"three")
    house.store.log.archive(run.id, run.token, first, progress)
    house.store.log.archive(run.id, run.token, first, progress)
    house.store.log.archive(run.id, run.token, longer, further)
    assert house.store.runs.get(run.id).archived == further
    assert b"".join(house.store.log.output(run.id, 0, 100)) == b"onetwothree"
    assert house.store.log.read(run.id, 0, 10) == [Entry(e.seq, e.payload, 0) for e in longer.unpack()[:1]] + [
        Entry(e.seq, e.payload, e.spool if e.seq == 3 else 20 if e.seq == 2 else 0) for e in longer.unpack()[1:]
    ]


@pytest.mark.trap("R1")
def test_of_two_archivers_at_once_each_chunk_is_kept_once(house, other_house, at_once):
    run = house.running()
    chunk = Writer().chunk(b"a", b"b")
    results = at_once(*(lambda h=h: h.store.log.archive(run.id, run.token, *chunk) for h in (house, other_house) * 4))
    assert results == [None] * 8
    assert [e.seq for e in house.store.log.read(run.id, 0, 10)] == [1, 2]


@pytest.mark.trap("S3")
def test_epochs_say_from_where_a_reader_must_read_again(house):
    run = house.running()
    house.store.log.archive(run.id, run.token, *Writer().chunk(b"a", b"b"))
    assert house.store.log.open_epoch(run.id, run.token) == 2
    with pytest.raises(Fenced):
        house.store.log.archive(run.id, run.token, *Writer(1, 2, 2).chunk(b"of the old epoch"))
    house.store.log.archive(run.id, run.token, *Writer(2, 2, 2).chunk(b"c", b"d"))
    assert house.store.log.open_epoch(run.id, run.token) == 3
    archived = house.store.log.archive_state(run.id)
    assert archived == ArchiveState(3, 4, ((1, 0), (2, 2), (3, 4)), False)
    resumes = {Position(1, 2): None, Position(1, 5): 2, Position(2, 4): None, Position(2, 6): 4, Position(3, 9): None}
    assert {p: resume_point(p, archived.bases) for p in resumes} == resumes
    assert house.store.runs.get(run.id).archived == Progress(3, 4, 4, 40)


def test_any_range_of_the_output_is_what_the_program_wrote(house):
    dice = random.Random(3)
    run, writer = house.running(), Writer()
    for _ in range(12):
        pieces = [dice.choice([None, b"", dice.randbytes(dice.randint(1, 9)), "é\n".encode()]) for _ in range(4)]
        house.store.log.archive(run.id, run.token, *writer.chunk(*pieces))
    whole = writer.written
    assert house.store.log.output_size(run.id) == len(whole)
    assert b"".join(house.store.log.output(run.id, 0, len(whole))) == whole
    for _ in range(150):
        start, stop = sorted(dice.randint(0, len(whole) + 3) for _ in range(2))
        assert b"".join(house.store.log.output(run.id, start, stop)) == whole[start:stop]
