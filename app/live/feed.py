"""What one process knows of one run's log: how far it reaches, its latest events, its epochs. Shared by all cursors of the run.

No I/O and no clock: announcements, heads and states of the archive come in; what a cursor may be given, or must fetch, goes out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from app.domain.ports import ArchiveState, Head
from app.domain.runs.events import Entry, Kind, Position, epoch_after, resume_point
from app.live.batch import Batch, Reset, cut, make_batch, nothing_more
from app.live.names import Announcement, stamp

MISS_PAUSE_S = 0.2
PAGE_ENTRIES = 500


class Effect(Enum):
    """What an announcement means: nothing new, something to show, or that SQL must be asked first."""

    NOTHING = auto()
    NEWS = auto()
    ASK = auto()


@dataclass(frozen=True, slots=True)
class Behind:
    """The cursor must fetch what follows seq `after` of `epoch`, from the live log first if `live`, in `wait_s` seconds.

    No more than `entries`, for no more of them would be kept.
    """

    epoch: int
    after: int
    live: bool
    wait_s: float
    entries: int = PAGE_ENTRIES


class Ring:
    """The latest payloads, without gaps, within a number of bytes: those after seq `base` up to `top`."""

    def __init__(self, max_bytes: int) -> None:
        """Begin empty."""
        self._max_bytes = max_bytes
        self.clear()

    def clear(self, base: int = 0) -> None:
        """Forget everything; `base + 1` comes next."""
        self.base, self.size = base, 0
        self._payloads: list[bytes] = []

    @property
    def top(self) -> int:
        """The seq of the latest payload."""
        return self.base + len(self._payloads)

    def offer(self, seq: int, payloads: Sequence[bytes]) -> None:
        """Add what is new of the payloads, numbered from `seq`. After a gap the ring begins anew: cursors fetch the gap."""
        if seq > self.top + 1:
            self.clear(seq - 1)
        fresh = payloads[self.top + 1 - seq :]
        self._payloads += fresh
        self.size += sum(map(len, fresh))
        if self.size > self._max_bytes:
            self._shrink()

    def _shrink(self) -> None:
        # A quarter more than needed, so that the list is not moved with every event.
        drop = 0
        while self.size > self._max_bytes * 3 // 4:
            self.size -= len(self._payloads[drop])
            drop += 1
        del self._payloads[:drop]
        self.base += drop

    def take(self, after: int, upto: int, max_bytes: int) -> tuple[list[bytes], bool]:
        """Return the payloads after `after` up to `upto`, and whether they were cut at about `max_bytes`."""
        taken: list[bytes] = []
        size = 0
        for payload in islice(self._payloads, after - self.base, upto - self.base):
            size += len(payload)
            if taken and size > max_bytes:
                return taken, True
            taken.append(payload)
        return taken, False


class Feed:
    """One run as this process sees it. Thread-safe.

    Everything up to `top` is known to exist; cursors are shown the log up to `shown` at paced moments, so that all of them
    ask for the same batches. `news` is set at the next such moment (take it before `look`, wait on it after).
    Invariant: what is handed out belongs to `epoch` or to an earlier one up to its base, and follows on from the cursor.
    """

    def __init__(self, run_id: str, archived: ArchiveState, *, ring_bytes: int, batch_bytes: int) -> None:
        """Begin with what SQL knows."""
        self.run_id = run_id
        self.filling = threading.Lock()
        self.news = threading.Event()
        self.shown_at = 0.0
        self.cursors = 0
        self.idle_since = 0.0
        self._batch_bytes = batch_bytes
        self._lock = threading.Lock()
        self._ring = Ring(ring_bytes)
        self._pages: OrderedDict[int, Batch] = OrderedDict()
        self._pages_size, self._pages_bytes = 0, 2 * max(ring_bytes, batch_bytes)
        self._page_entries = PAGE_ENTRIES
        self._missed: dict[int, float] = {}
        self.end_seq: int | None = None
        self._top = self.shown = self._floor = 0
        self._bases: tuple[tuple[int, int], ...] = ()
        self.epoch = 0
        self.observe(None, archived)
        self.show(0.0)

    @property
    def ended(self) -> bool:
        """True once the end event is known: nothing will follow."""
        return self.end_seq is not None

    def observe(self, head: Head | None, archived: ArchiveState | None) -> bool:
        """Take in what the live log and SQL say, read in this order; True when there is something to show."""
        with self._lock:
            before = (self.epoch, self.end_seq)
            if archived is not None:
                self._apply_archive(archived)
            if head is not None and head.epoch == self.epoch:
                self._floor = head.floor
                self._top = max(self._top, head.seq)
            return before != (self.epoch, self.end_seq) or self._top > self.shown

    def _apply_archive(self, archived: ArchiveState) -> None:
        if archived.epoch > self.epoch:
            self._begin(archived.epoch, archived.seq)
        self._bases = archived.bases
        self._top = max(self._top, archived.seq)
        if archived.ended:
            self.end_seq = archived.seq

    def _begin(self, epoch: int, top: int) -> None:
        """Enter an epoch: what is held may have been dropped."""
        self.epoch, self._top, self.shown, self._floor = epoch, top, top, 0
        self._ring.clear()
        self._pages.clear()
        self._pages_size = 0
        self._missed.clear()

    def on_announcement(self, announced: Announcement) -> Effect:
        """Take in an announcement of the live log."""
        with self._lock:
            if announced.epoch != self.epoch:
                # A higher epoch has a base which only SQL knows: nothing of it may be shown before.
                return Effect.ASK if announced.epoch > self.epoch else Effect.NOTHING
            if not announced.payloads:
                self._floor = announced.seq
                return Effect.NOTHING
            self._ring.offer(announced.seq, announced.payloads)
            last = announced.seq + len(announced.payloads) - 1
            if stamp(announced.payloads[-1])[1] is Kind.END:
                self.end_seq = last
            again, self._top = last <= self._top, max(self._top, last)
            # A cursor that catches up may have fetched it before: then it is known, and was shown to nobody yet.
            return Effect.NEWS if not again or self._missed or self._top > self.shown else Effect.NOTHING

    def show(self, now: float) -> None:
        """Let all cursors look at what is known by now."""
        with self._lock:
            self.shown, self.shown_at = self._top, now
            self._missed.clear()
            seen, self.news = self.news, threading.Event()
        seen.set()

    def look(self, at: Position, now: float) -> Batch | Reset | Behind | None:
        """Say what a cursor gets next; None when it has all that is shown."""
        with self._lock:
            fallback = resume_point(at, self._bases) if at.epoch < self.epoch else None
            if fallback is not None:
                # Not always the present epoch: one in between may have kept more than an earlier one.
                return Reset(epoch_after(fallback, self._bases), fallback)
            if self.end_seq is not None and at.seq >= self.end_seq:
                # A position that never was can only be noticed here.
                return nothing_more(at) if at.seq == self.end_seq else Reset(epoch_after(0, self._bases), 0)
            if at.seq >= self.shown:
                return None
            return self._held(at.seq) or self._behind(at.seq, now)

    def _held(self, after: int) -> Batch | None:
        page = self._pages.get(after)
        if page is not None and (page.full or page.last.seq >= self.shown):
            return page
        if self._ring.base <= after < self._ring.top:
            payloads, full = self._ring.take(after, min(self.shown, self._ring.top), self._batch_bytes)
            return self._keep(after, make_batch(self.epoch, after, payloads, full=full))
        return page

    def _behind(self, after: int, now: float) -> Behind:
        wait_s = max(0.0, self._missed.get(after, -MISS_PAUSE_S) + MISS_PAUSE_S - now)
        return Behind(self.epoch, after, after >= self._floor, wait_s, self._page_entries)

    def fetched(self, asked: Behind, entries: Sequence[Entry]) -> Batch | Effect:
        """Take in what was fetched and return its first batch; NOTHING if it does not follow on, ASK to read SQL again."""
        if not entries or entries[0].seq != asked.after + 1 or entries[-1].seq != asked.after + len(entries):
            return Effect.NOTHING
        payloads = [entry.payload for entry in entries]
        with self._lock:
            if asked.epoch != self.epoch:
                return Effect.NOTHING
            if stamp(payloads[-1])[0].epoch > self.epoch:
                # The archive is in an epoch that this cursor was not yet checked against.
                return Effect.ASK
            self._top = max(self._top, entries[-1].seq)
            self._keep_page(asked.after, payloads)
            return self._pages[asked.after]

    def _keep_page(self, after: int, payloads: list[bytes]) -> None:
        """Keep the beginning of a page, at most half of all that is kept, so that it is not dropped before it is asked for."""
        room = self._pages_bytes // 2
        self._page_entries = max(1, min(PAGE_ENTRIES, room * len(payloads) // sum(map(len, payloads))))
        for batch in cut(self.epoch, after, payloads, self._batch_bytes):
            self._keep(after, batch)
            after = batch.last.seq
            room -= len(batch.frame)
            if room <= 0:
                break

    def missed(self, after: int, now: float) -> None:
        """Note that nobody has what follows `after`, although it is known to exist: it will be sent again."""
        with self._lock:
            self._missed[after] = now

    def _keep(self, after: int, batch: Batch) -> Batch:
        former = self._pages.pop(after, None)
        self._pages_size += len(batch.frame) - (len(former.frame) if former else 0)
        self._pages[after] = batch
        while self._pages_size > self._pages_bytes and len(self._pages) > 1:
            _, dropped = self._pages.popitem(last=False)
            self._pages_size -= len(dropped.frame)
        return batch
