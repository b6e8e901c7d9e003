"""The archive of the runs' logs: chunks of events that follow on without gaps, and the epochs.

Implements domain.ports.Archive. What is not archived yet is the live log's business, and joining the two is the hub's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from app.domain.errors import Fenced
from app.domain.ports import ArchiveState
from app.domain.runs.events import Entry, Kind, output_bytes
from app.domain.runs.run import Progress, Status
from app.store.engine import begin, reading
from app.store.schema.tables import IS_SUPERVISED, output_chunks, run_epochs, runs

# Fast first: the archiver packs the output of all runs of a process.
_ZLIB_LEVEL = 3
# How many chunks are read at a time for a download; one holds about 1 MiB of events at most.
_PAGE = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one epoch, packed: seqs first to last, output bytes [first_offset, last_offset)."""

    first_seq: int
    last_seq: int
    epoch: int
    first_offset: int
    last_offset: int
    spool: int
    data: bytes

    @classmethod
    def pack(cls, entries: Sequence[Entry], epoch: int, first_offset: int, last_offset: int, spool: int) -> Chunk:
        """Pack at least one entry. A payload is JSON, so it holds no newline of its own."""
        data = zlib.compress(b"\n".join(entry.payload for entry in entries), _ZLIB_LEVEL)
        return cls(entries[0].seq, entries[-1].seq, epoch, first_offset, last_offset, spool, data)

    def unpack(self) -> list[Entry]:
        """Return the entries; only the last one's spool position is known."""
        payloads = zlib.decompress(self.data).split(b"\n")
        last = len(payloads) - 1
        return [Entry(self.first_seq + i, p, self.spool if i == last else 0) for i, p in enumerate(payloads)]


_CHUNK = tuple(output_chunks.c[name] for name in Chunk.__dataclass_fields__)

# One more chunk of a run.
INSERT = insert(output_chunks)

# Move a run's archived progress on, if its token holds and the chunk begins where the archive ends.
ADVANCE = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.token == bindparam("held"),
        IS_SUPERVISED,
        runs.c.archived_seq == bindparam("floor"),
        runs.c.archived_epoch == bindparam("epoch"),
    )
    .values(
        archived_seq=bindparam("seq"),
        archived_offset=bindparam("offset"),
        archived_spool=bindparam("spool"),
    )
)

# Begin another epoch at the archived seq.
NEW_EPOCH = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED)
    .values(archived_epoch=runs.c.archived_epoch + 1)
    .returning(runs.c.archived_epoch, runs.c.archived_seq)
)

# Where the new epoch begins.
INSERT_EPOCH = insert(run_epochs)

# How far a run's archive reaches.
ARCHIVED = select(
    runs.c.status,
    runs.c.token,
    runs.c.archived_epoch,
    runs.c.archived_seq,
    runs.c.archived_offset,
    runs.c.archived_spool,
).where(runs.c.id == bindparam("run"))

# Where the epochs of a run began.
BASES = (
    select(run_epochs.c.epoch, run_epochs.c.base_seq).where(run_epochs.c.run_id == bindparam("run")).order_by(run_epochs.c.epoch)
)

# The chunks that hold the seqs from one to another, found by the primary key alone.
_start = (
    select(func.max(output_chunks.c.first_seq))
    .where(output_chunks.c.run_id == bindparam("run"), output_chunks.c.first_seq <= bindparam("first"))
    .scalar_subquery()
)
CHUNKS_BY_SEQ = (
    select(*_CHUNK)
    .where(
        output_chunks.c.run_id == bindparam("run"),
        output_chunks.c.first_seq >= _start,
        output_chunks.c.first_seq <= bindparam("last"),
    )
    .order_by(output_chunks.c.first_seq)
)

# The next chunks with output bytes after an offset.
CHUNKS_BY_OFFSET = (
    select(*_CHUNK)
    .where(output_chunks.c.run_id == bindparam("run"), output_chunks.c.last_offset > bindparam("after"))
    .order_by(output_chunks.c.last_offset, output_chunks.c.first_seq)
    .limit(_PAGE)
)


def insert_chunk(connection: Connection, run_id: str, chunk: Chunk) -> None:
    """Insert a chunk; the caller has checked in this transaction that it follows on."""
    connection.execute(INSERT, {"run_id": run_id, **asdict(chunk)})


class ChunkStore:
    """The archive. Every method raises StoreUnavailable when the database cannot be reached."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def archive(self, run_id: str, token: int, chunk: Chunk, progress: Progress) -> None:
        """Add a chunk and move the run's progress on, in one transaction.

        What this writer archived before is skipped, so it may try again after StoreUnavailable. Raises: Fenced when the
        token is not the run's any more, or the chunk does not begin where the archive ends.
        """
        with begin(self._engine) as connection:
            if not _advance(connection, run_id, token, chunk, progress):
                rest = _rest(connection, run_id, token, chunk)
                if rest is None:
                    return
                chunk = rest
                if not _advance(connection, run_id, token, chunk, progress):
                    raise Fenced()
            insert_chunk(connection, run_id, chunk)

    def open_epoch(self, run_id: str, token: int) -> int:
        """Begin a new epoch after the archived seq and return its number. Raises: Fenced."""
        with begin(self._engine) as connection:
            row = connection.execute(NEW_EPOCH, {"run": run_id, "held": token}).one_or_none()
            if row is None:
                raise Fenced()
            epoch: int = row.archived_epoch
            connection.execute(INSERT_EPOCH, {"run_id": run_id, "epoch": epoch, "base_seq": row.archived_seq})
            return epoch

    def read(self, run_id: str, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` entries with seq > `after`, in order, without gaps; [] when the archive ends there."""
        wanted = {"run": run_id, "first": after + 1, "last": after + limit}
        with reading(self._engine) as connection:
            chunks = [Chunk(*row) for row in connection.execute(CHUNKS_BY_SEQ, wanted)]
        return [entry for chunk in chunks for entry in chunk.unpack() if after < entry.seq <= after + limit]

    def archive_state(self, run_id: str) -> ArchiveState | None:
        """Return how far the archive reaches and the bases of its epochs; None for an unknown run."""
        with reading(self._engine) as connection:
            # In this order a base is never missing for an epoch that the caller is told of.
            row = connection.execute(ARCHIVED, {"run": run_id}).one_or_none()
            bases = tuple((epoch, base) for epoch, base in connection.execute(BASES, {"run": run_id}))
        if row is None:
            return None
        return ArchiveState(row.archived_epoch, row.archived_seq, ((1, 0), *bases), Status(row.status).final)

    def output(self, run_id: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the program's recorded output bytes [start, stop), as far as they are archived."""
        while start < stop:
            with reading(self._engine) as connection:
                chunks = [Chunk(*row) for row in connection.execute(CHUNKS_BY_OFFSET, {"run": run_id, "after": start})]
            if not chunks:
                return
            for chunk in chunks:
                yield from _slices(chunk, start, stop)
            start = chunks[-1].last_offset

    def output_size(self, run_id: str) -> int:
        """Return how many output bytes are archived; 0 for an unknown run."""
        with reading(self._engine) as connection:
            row = connection.execute(ARCHIVED, {"run": run_id}).one_or_none()
            return row.archived_offset if row else 0


def _advance(connection: Connection, run_id: str, token: int, chunk: Chunk, progress: Progress) -> bool:
    values = {
        "run": run_id,
        "held": token,
        "floor": chunk.first_seq - 1,
        "epoch": chunk.epoch,
        "seq": progress.seq,
        "offset": progress.offset,
        "spool": progress.spool,
    }
    return connection.execute(ADVANCE, values).rowcount == 1


def _rest(connection: Connection, run_id: str, token: int, chunk: Chunk) -> Chunk | None:
    """Return what of the chunk is not archived yet, None for nothing, if this writer archived its beginning."""
    row = connection.execute(ARCHIVED, {"run": run_id}).one_or_none()
    if row is None or row.token != token or row.archived_epoch != chunk.epoch or row.archived_seq < chunk.first_seq:
        raise Fenced()
    entries = [entry for entry in chunk.unpack() if entry.seq > row.archived_seq]
    if not entries:
        return None
    return Chunk.pack(entries, chunk.epoch, row.archived_offset, chunk.last_offset, chunk.spool)


def _slices(chunk: Chunk, start: int, stop: int) -> Iterator[bytes]:
    for entry in chunk.unpack():
        event = json.loads(entry.payload)
        if event["kind"] != Kind.OUTPUT:
            continue
        offset, data = event["offset"], output_bytes(event)
        if offset < stop and offset + len(data) > start:
            yield data[max(0, start - offset) : stop - offset]
