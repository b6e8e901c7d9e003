"""At once after a quiet moment, at most once per interval under load, and through errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.domain.ports import ArchiveState
from app.live.feed import Feed
from app.live.pacer import Pacer


class CountingFeed(Feed):
    """Counts how often it was shown; fails the first time if told to."""

    shows = 0
    fail = False

    def show(self, now: float) -> None:
        self.shows += 1
        super().show(now)
        if self.fail:
            self.fail = False
            raise ValueError("on purpose")


def counting() -> CountingFeed:
    feed = CountingFeed("r", ArchiveState(1, 0, (), False), ring_bytes=1, batch_bytes=1)
    feed.shows = 0
    return feed


@contextmanager
def running(pacer: Pacer) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=pacer.run, args=(stopped.is_set,))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(10)


def test_the_first_is_shown_at_once_and_a_burst_only_once_more() -> None:
    feed, pacer = counting(), Pacer(0.1, lambda: 1000_000)
    pacer.show(feed)
    assert feed.shows == 1
    news = feed.news
    for _ in range(100):
        pacer.show(feed)
    assert feed.shows == 1
    with running(pacer):
        assert news.wait(10)
    assert feed.shows == 2


def test_few_cursors_hardly_wait() -> None:
    feed, pacer = counting(), Pacer(3600, lambda: 0)
    for _ in range(3):
        pacer.show(feed)
    assert feed.shows == 3


def test_an_error_is_counted_and_the_next_feed_is_shown() -> None:
    bad, good, pacer = counting(), counting(), Pacer(0.05, lambda: 1000_000)
    for feed in (bad, good):
        pacer.show(feed)
    bad.fail = True
    news = good.news
    for feed in (bad, good):
        pacer.show(feed)
    with running(pacer):
        assert news.wait(10)
    assert pacer.errors == 1
