"""One watcher's place in a run's log. It is handed what lies between its place and the head, from wherever that is held.

There is no queue per watcher: a slow one costs nothing but its own delay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from app.domain.errors import LiveUnavailable, StoreUnavailable
from app.domain.ports import Archive, EventLog
from app.domain.runs.events import Entry, Position
from app.live.batch import Batch, Reset
from app.live.feed import MISS_PAUSE_S, Behind, Effect, Feed

logger = logging.getLogger(__name__)


class Ground(Protocol):
    """What a cursor needs of its hub."""

    log: EventLog
    archive: Archive

    @property
    def degraded(self) -> bool:
        """True while the live log is out of reach."""

    def poke(self, run_id: str) -> None:
        """Ask for the run's head and archive to be read anew."""


class Cursor:
    """A watcher's place. One thread calls `next`; any thread may close."""

    def __init__(self, ground: Ground, feed: Feed, position: Position, on_close: Callable[[], None]) -> None:
        """Made by Hub.watch."""
        self.position = position
        self._ground, self._feed, self._on_close = ground, feed, on_close
        self._closed = False
        self._ended = False

    def next(self, timeout_s: float) -> Batch | Reset | None:
        """Wait for what comes next; None after the timeout, and at once when the end was delivered or the cursor is closed.

        Raises nothing: while neither Redis nor SQL can be reached, it waits.
        """
        deadline = time.monotonic() + timeout_s
        while not (self._closed or self._ended):
            news = self._feed.news
            found = self._feed.look(self.position, time.monotonic())
            pause_s = timeout_s
            if isinstance(found, Behind):
                found = self._fill(found) if found.wait_s <= 0 else None
                pause_s = MISS_PAUSE_S
            if found is not None:
                return self._advance(found)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            news.wait(min(left_s, pause_s))
        return None

    def close(self) -> None:
        """Give the place up. Idempotent; a `next` that waits returns at the latest after its timeout."""
        if not self._closed:
            self._closed = True
            self._on_close()

    def _advance(self, found: Batch | Reset) -> Batch | Reset:
        if isinstance(found, Reset):
            self.position = Position(found.epoch, found.seq)
        else:
            self.position, self._ended = found.last, found.ended
        return found

    def _fill(self, asked: Behind) -> Batch | Reset | None:
        """Fetch one page. One cursor of the run fetches at a time: those who waited mostly find the page there."""
        with self._feed.filling:
            now = time.monotonic()
            found = self._feed.look(self.position, now)
            if not isinstance(found, Behind):
                return found
            if found.wait_s > 0:
                return None
            return self._fetch(found, now)

    def _fetch(self, asked: Behind, now: float) -> Batch | None:
        sources = [self._from_archive]
        if not self._ground.degraded:
            sources.insert(0 if asked.live else 1, self._from_log)
        for source in sources:
            answer = self._feed.fetched(asked, source(asked))
            if isinstance(answer, Batch):
                return answer
            if answer is Effect.ASK:
                self._ground.poke(self._feed.run_id)
        self._feed.missed(asked.after, now)
        return None

    def _from_log(self, asked: Behind) -> list[Entry]:
        try:
            return self._ground.log.read(self._feed.run_id, asked.epoch, asked.after, asked.entries)
        except LiveUnavailable as error:
            logger.warning("run %s: catching up without the live log: %s", self._feed.run_id, error)
            return []

    def _from_archive(self, asked: Behind) -> list[Entry]:
        try:
            return self._ground.archive.read(self._feed.run_id, asked.after, asked.entries)
        except StoreUnavailable as error:
            logger.warning("run %s: catching up waits for the archive: %s", self._feed.run_id, error)
            return []
