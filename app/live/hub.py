"""All watchers of one web process: one pub/sub connection, one feed per watched run, and the checks that make loss harmless.

Only threading primitives are used, so it runs on threads and, patched, on greenlets. What a socket does with batches is
the web's; what may be handed out is the feed's.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import redis

from app.domain.errors import LiveUnavailable, NotFound, StoreUnavailable
from app.domain.ports import Archive, ArchiveState, EventLog, Head
from app.domain.runs.events import Position
from app.live.cursor import Cursor
from app.live.feed import Effect, Feed
from app.live.names import live_channel, parse_announcement
from app.live.pacer import Pacer
from app.live.subscription import Subscription

logger = logging.getLogger(__name__)

RING_BYTES = 1024 * 1024
BATCH_BYTES = 256 * 1024
DEGRADED_CHECK_S = 1.0
LONGEST_SLEEP_S = 0.5


class Hub:
    """The watchers of one process. Thread-safe.

    An announcement reaches cursors at once after a quiet moment, under load every `coalesce_s` seconds. Head and archive
    of a run are read when its subscription is acknowledged (again), on `poke`, and every `check_s` seconds (jittered);
    every second while Redis is out of reach, when cursors go on from the archive.
    """

    def __init__(
        self,
        log: EventLog,
        archive: Archive,
        client: redis.Redis,
        *,
        ring_bytes: int = RING_BYTES,
        batch_bytes: int = BATCH_BYTES,
        coalesce_s: float = 0.04,
        check_s: float = 30.0,
        probe_s: float = 5.0,
        grace_s: float = 5.0,
    ) -> None:
        """Nothing runs before `start`. A run that nobody watches any more is kept for `grace_s` seconds."""
        self.log, self.archive = log, archive
        self._ring_bytes, self._batch_bytes = ring_bytes, batch_bytes
        self._check_s, self._grace_s = check_s, grace_s
        self._subscription = Subscription(client, self._on_message, self._on_subscribed, self._on_lost, probe_s=probe_s)
        self._pacer = Pacer(coalesce_s, lambda: self._cursors)
        self._lock = threading.Lock()
        self._asking = threading.Condition(self._lock)
        self._feeds: dict[str, Feed] = {}
        self._asked: set[str] = set()
        self._cursors = 0
        self._errors = 0
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def degraded(self) -> bool:
        """True while there is no live subscription connection."""
        return not self._subscription.up

    @property
    def cursors(self) -> int:
        """The open cursors."""
        return self._cursors

    @property
    def subscriptions(self) -> int:
        """The runs whose channels are subscribed, or are to be."""
        return len(self._subscription.wanted)

    @property
    def connections(self) -> int:
        """How often the subscription connection was made."""
        return self._subscription.connections

    @property
    def errors(self) -> int:
        """The failures that the background loops survived."""
        return self._errors + self._subscription.errors + self._pacer.errors

    def start(self) -> None:
        """Start the background loops. In a server that forks, call it in the worker."""
        loops: tuple[tuple[str, Callable[[], None]], ...] = (
            ("hub-subscription", lambda: self._subscription.run(self._stopped.is_set)),
            ("hub-pacer", lambda: self._pacer.run(self._stopped.is_set)),
            ("hub-checks", self._run_checks),
        )
        for name, loop in loops:
            thread = threading.Thread(target=loop, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop the loops and let every waiting cursor look once more. Cursors are closed by those who hold them."""
        self._stopped.set()
        self._subscription.wake()
        with self._asking:
            self._asking.notify()
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.show(time.monotonic())
        for thread in self._threads:
            thread.join(5.0)

    def watch(self, run_id: str, position: Position) -> Cursor:
        """Return a cursor that is handed all that follows the position. Close it.

        Raises: NotFound (no such run), StoreUnavailable.
        """
        feed = self._join(run_id)
        try:
            if position.epoch > feed.epoch:
                # The watcher was elsewhere told of an epoch that we have not heard of: it is in SQL, or it never was.
                feed.observe(None, self.archive.archive_state(run_id))
                self._pacer.show(feed)
            never_was = position.epoch > feed.epoch
        except BaseException:
            self._leave(feed)
            raise
        return Cursor(self, feed, Position(0, position.seq) if never_was else position, lambda: self._leave(feed))

    def poke(self, run_id: str) -> None:
        """Read the run's head and the archive's state soon, if it is watched."""
        with self._asking:
            if run_id in self._feeds:
                self._asked.add(run_id)
                self._asking.notify()

    def poke_all(self) -> None:
        """Read head and archive of all watched runs soon."""
        with self._asking:
            self._asked.update(self._feeds)
            self._asking.notify()

    def _join(self, run_id: str) -> Feed:
        with self._lock:
            feed = self._feeds.get(run_id)
            if feed is not None:
                return self._enter(feed)
        archived = self.archive.archive_state(run_id)
        if archived is None:
            raise NotFound()
        fresh = Feed(run_id, archived, ring_bytes=self._ring_bytes, batch_bytes=self._batch_bytes)
        with self._lock:
            feed = self._enter(self._feeds.setdefault(run_id, fresh))
        if feed is fresh and not feed.ended:
            self._subscription.want(live_channel(run_id))
            # The acknowledgement asks again; it does not come if the channel was still held from before.
            self.poke(run_id)
        return feed

    def _enter(self, feed: Feed) -> Feed:
        feed.cursors += 1
        self._cursors += 1
        return feed

    def _leave(self, feed: Feed) -> None:
        with self._lock:
            feed.cursors -= 1
            feed.idle_since = time.monotonic()
            self._cursors -= 1

    def _on_message(self, channel: str, data: bytes) -> None:
        feed = self._feeds.get(_run_of(channel))
        if feed is None:
            return
        try:
            effect = feed.on_announcement(parse_announcement(data))
        except ValueError:
            self._errors += 1
            logger.exception("run %s: announcement not understood", feed.run_id)
            effect = Effect.ASK
        if effect is Effect.NEWS:
            self._pacer.show(feed)
        elif effect is Effect.ASK:
            self.poke(feed.run_id)

    def _on_subscribed(self, channel: str) -> None:
        # What was announced before this moment is known only from the head.
        self.poke(_run_of(channel))

    def _on_lost(self) -> None:
        self.poke_all()

    def _run_checks(self) -> None:
        checked, every_s = time.monotonic(), self._jittered()
        while not self._stopped.is_set():
            try:
                asked = self._wait_asked()
                self._reap()
                if time.monotonic() - checked >= (DEGRADED_CHECK_S if self.degraded else every_s):
                    checked, every_s = time.monotonic(), self._jittered()
                    self.poke_all()
                failed = [feed for feed in asked if not self._refresh(feed)]
                if failed:
                    self._stopped.wait(LONGEST_SLEEP_S)
                    for feed in failed:
                        self.poke(feed.run_id)
            except Exception:
                self._errors += 1
                logger.exception("a check of the watched runs failed")
                self._stopped.wait(LONGEST_SLEEP_S)

    def _jittered(self) -> float:
        # Processes that started together shall not ask together.
        return self._check_s * random.uniform(0.75, 1.25)

    def _wait_asked(self) -> list[Feed]:
        """Wait until something is asked, at most half a second, and take it."""
        with self._asking:
            if not self._asked and not self._stopped.is_set():
                self._asking.wait(LONGEST_SLEEP_S)
            asked = [self._feeds[run_id] for run_id in self._asked if run_id in self._feeds]
            self._asked.clear()
            return asked

    def _refresh(self, feed: Feed) -> bool:
        """Read head and archive anew, in this order, so that the archive knows the head's epoch; False when SQL failed."""
        if feed.ended:
            return True
        head = self._head(feed.run_id)
        archived = self._archive_state(feed.run_id)
        if feed.observe(head, archived):
            self._pacer.show(feed)
        return archived is not None

    def _head(self, run_id: str) -> Head | None:
        if self.degraded:
            return None
        try:
            return self.log.head(run_id)
        except LiveUnavailable as error:
            self._errors += 1
            logger.warning("run %s: head was not read: %s", run_id, error)
            return None

    def _archive_state(self, run_id: str) -> ArchiveState | None:
        try:
            return self.archive.archive_state(run_id)
        except StoreUnavailable as error:
            self._errors += 1
            logger.warning("run %s: the archive was not read: %s", run_id, error)
            return None

    def _reap(self) -> None:
        """Forget the runs that nobody has watched for the grace."""
        before = time.monotonic() - self._grace_s
        with self._lock:
            idle = [feed for feed in self._feeds.values() if not feed.cursors and feed.idle_since < before]
            for feed in idle:
                del self._feeds[feed.run_id]
                # Under the lock: a new feed of the run must want its channel after this, not before.
                self._subscription.unwant(live_channel(feed.run_id))


def _run_of(channel: str) -> str:
    return channel.partition("{")[2].partition("}")[0]
