"""The writer of one run's log: numbers the events, sends them to the live log, keeps what is not archived yet, archives it.

One supervisor appends; the archiver thread archives. Only the final transaction and reading for watchers live elsewhere.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.domain.errors import Fenced, LiveUnavailable
from app.domain.ports import Append, EventLog, Head
from app.domain.runs.events import Entry, Kind, encode, output_bytes
from app.domain.runs.run import Progress, Run
from app.store.log.chunks import Chunk, ChunkStore

logger = logging.getLogger(__name__)

MAX_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    """An event that SQL does not hold yet, with how far the log has come after it."""

    entry: Entry
    progress: Progress


class RunLog:
    """The log of one run as its present writer sees it.

    Invariant: `archived` and the kept events after it follow on without a gap, so whatever Redis loses can be sent again,
    byte for byte. Thread-safe: one appender, one archiver.
    """

    def __init__(self, run: Run, log: EventLog, chunks: ChunkStore, epoch: int, tail: Sequence[Entry] = ()) -> None:
        """Start at the archived progress of the run, in `epoch`; `tail` is what the live log holds beyond it."""
        self.run_id, self.token, self.epoch = run.id, run.token, epoch
        self._log, self._chunks = log, chunks
        self._lock = threading.Lock()
        self._archiving = threading.Lock()
        self._kept: list[_Kept] = []
        self.archived = Progress(epoch, run.archived.seq, run.archived.offset, run.archived.spool)
        self.top = self.archived
        self.kept_bytes = 0
        for entry in tail:
            self._keep(entry, _size_of(entry))
        # -1: the live log was not begun by this writer yet, or lost what it held.
        self._sent = -1

    def add(self, time: float, kind: Kind, fields: dict[str, object], *, spool: int | None = None, size: int = 0) -> Entry:
        """Number and keep an event.

        `publish` sends it. `spool` is the agent's position after its record, `size` its output bytes.
        """
        with self._lock:
            entry = self.compose(time, kind, fields, spool)
            self._keep(entry, size)
            return entry

    def compose(self, time: float, kind: Kind, fields: dict[str, object], spool: int | None = None) -> Entry:
        """Return the event that would come next, without keeping it."""
        seq = self.top.seq + 1
        return Entry(seq, encode(self.epoch, seq, time, kind, fields), self.top.spool if spool is None else spool)

    def _keep(self, entry: Entry, size: int) -> None:
        self.top = Progress(self.epoch, entry.seq, self.top.offset + size, entry.spool or self.top.spool)
        self._kept.append(_Kept(entry, self.top))
        self.kept_bytes += len(entry.payload)

    def publish(self) -> bool:
        """Send what the live log does not hold yet; False while it cannot be reached. Raises: Fenced."""
        with self._lock:
            floor, kept, sent = self.archived.seq, [k.entry for k in self._kept], self._sent
        if sent == self.top.seq:
            return True
        try:
            answer = self._send(floor, kept, sent)
        except LiveUnavailable as error:
            logger.warning("run %s: live log unreachable, %d events wait: %s", self.run_id, len(kept), error)
            return False
        if answer is Append.FENCED:
            raise Fenced()
        with self._lock:
            self._sent = max(self._sent, kept[-1].seq if kept else floor)
        return True

    def _send(self, floor: int, kept: list[Entry], sent: int) -> Append:
        fresh = [entry for entry in kept if entry.seq > sent]
        if sent >= 0 and fresh:
            answer = self._log.append(self.run_id, self.token, self.epoch, fresh)
            if answer in (Append.OK, Append.FENCED):
                return answer
        # The live log lost something, or never had it: begin it anew above what SQL holds, and send all the rest.
        answer = self._log.open(self.run_id, self.token, self.epoch, floor)
        if answer is Append.OK and kept:
            return self._log.append(self.run_id, self.token, self.epoch, kept)
        return answer

    def archive(self) -> bool:
        """Write what is kept to SQL, at most about 1 MiB; True when more is left. Raises: Fenced, StoreUnavailable."""
        with self._archiving:
            kept = self._oldest()
            if not kept:
                return False
            self._chunks.archive(self.run_id, self.token, self._chunk(kept), kept[-1].progress)
            self._drop(kept)
            self._trim()
            return bool(self._kept)

    def _trim(self) -> None:
        try:
            if self._log.trim(self.run_id, self.token, self.archived.seq) is Append.MISSING:
                # Redis was emptied: the next `publish` begins the live log anew, so that watchers hear of it soon.
                with self._lock:
                    self._sent = -1
        except LiveUnavailable as error:
            logger.debug("run %s: not trimmed: %s", self.run_id, error)

    def _oldest(self) -> list[_Kept]:
        with self._lock:
            size, kept = 0, list[_Kept]()
            for item in self._kept:
                size += len(item.entry.payload)
                if kept and size > MAX_CHUNK_BYTES:
                    break
                kept.append(item)
            return kept

    def _chunk(self, kept: Sequence[_Kept]) -> Chunk:
        return Chunk.pack(
            [item.entry for item in kept], self.epoch, self.archived.offset, kept[-1].progress.offset, kept[-1].progress.spool
        )

    def _drop(self, kept: Sequence[_Kept]) -> None:
        with self._lock:
            del self._kept[: len(kept)]
            self.kept_bytes -= sum(len(item.entry.payload) for item in kept)
            self.archived = kept[-1].progress

    def last_chunk(self, end: Entry) -> tuple[Chunk, Progress]:
        """Return the chunk of all that is kept and the end event, and the progress it leads to, for the final transaction."""
        with self._lock:
            progress = Progress(self.epoch, end.seq, self.top.offset, self.top.spool)
            return self._chunk([*self._kept, _Kept(end, progress)]), progress

    def ended(self, end: Entry) -> None:
        """Note that the final transaction holds everything, and announce the end event as well as can be."""
        with self._lock:
            self._keep(end, 0)
        try:
            self.publish()
        except Fenced:
            logger.info("run %s: the end was recorded; another writer announces it", self.run_id)

    def holding_archive(self) -> threading.Lock:
        """Return the lock under which the archive does not move, for the final transaction."""
        return self._archiving


def adopt(run: Run, log: EventLog, chunks: ChunkStore, server: str | None) -> RunLog:
    """Return the writer that continues the run's log after a claim. Every writer has an epoch of its own.

    The former writer's live tail is archived first when it is certainly all that any watcher can have seen: same epoch, same
    server since it was opened, following on from the archive. The new epoch begins after it, and watchers notice nothing.
    Otherwise it begins at the archived seq, and watchers beyond that fall back to it. Whatever a former writer that was only
    paused still sends belongs to an epoch that is over. `server` is the live log's present server id, None when it cannot be
    reached. Raises: Fenced, StoreUnavailable.
    """
    if run.token == 1:
        return RunLog(run, log, chunks, run.archived.epoch)
    try:
        # An empty append raises the fence first, so that the tail stands still.
        log.append(run.id, run.token, run.archived.epoch, ())
        tail = _trusted_tail(run, log, log.head(run.id), server)
    except LiveUnavailable:
        tail = None
    if tail is None:
        logger.warning("run %s: the live tail is gone; watchers fall back to event %d", run.id, run.archived.seq)
    former = RunLog(run, log, chunks, run.archived.epoch, tail or ())
    while former.archive():
        pass
    epoch = chunks.open_epoch(run.id, run.token)
    return RunLog(replace(run, archived=former.archived), log, chunks, epoch)


def _trusted_tail(run: Run, log: EventLog, head: Head | None, server: str | None) -> list[Entry] | None:
    archived = run.archived
    if head is None or head.epoch != archived.epoch or head.server != server or not head.floor <= archived.seq <= head.seq:
        return None
    tail: list[Entry] = []
    while (after := tail[-1].seq if tail else archived.seq) < head.seq:
        more = log.read(run.id, head.epoch, after, 1000)
        if not more or more[0].seq != after + 1:
            return None
        tail += more
    return tail


def _size_of(entry: Entry) -> int:
    event = json.loads(entry.payload)
    return len(output_bytes(event)) if event["kind"] == Kind.OUTPUT else 0
