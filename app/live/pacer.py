"""When the cursors of a feed are woken: at once after a quiet moment, under load only so often. What they get is the feed's."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from itertools import count

from app.live.feed import Feed

logger = logging.getLogger(__name__)

PER_CURSOR_S = 40e-6
LONGEST_SLEEP_S = 0.5


class Pacer:
    """Shows feeds to their cursors, each at most once per interval: `longest_s`, less while the process has few cursors.

    Waking a thousand cursors costs a thousand times more than one; what they wait for is shared meanwhile.
    """

    def __init__(self, longest_s: float, cursors: Callable[[], int]) -> None:
        """`cursors` counts the open cursors of the process."""
        self._longest_s, self._cursors = longest_s, cursors
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Feed]] = []
        self._scheduled: set[Feed] = set()
        self._order = count()
        self.errors = 0

    def show(self, feed: Feed) -> None:
        """Show the feed now, or as soon as its interval is over."""
        with self._changed:
            if feed in self._scheduled:
                return
            now = time.monotonic()
            at = feed.shown_at + min(self._longest_s, self._cursors() * PER_CURSOR_S)
            if at > now:
                self._scheduled.add(feed)
                heapq.heappush(self._due, (at, next(self._order), feed))
                if self._due[0][2] is feed:
                    self._changed.notify()
                return
        feed.show(now)

    def run(self, stop: Callable[[], bool]) -> None:
        """Show what is due until `stop()`, which is asked at least twice a second."""
        while not stop():
            for feed in self._wait_due():
                self._show_due(feed)

    def _show_due(self, feed: Feed) -> None:
        try:
            feed.show(time.monotonic())
        except Exception:
            # One feed's error must not cost the others their turn, nor this loop its life.
            self.errors += 1
            logger.exception("run %s: what is new was not shown", feed.run_id)

    def _wait_due(self) -> list[Feed]:
        with self._changed:
            left_s = self._due[0][0] - time.monotonic() if self._due else LONGEST_SLEEP_S
            if left_s > 0:
                self._changed.wait(min(left_s, LONGEST_SLEEP_S))
            due = []
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, feed = heapq.heappop(self._due)
                self._scheduled.discard(feed)
                due.append(feed)
            return due
