"""The hub over a real server: whatever is lost, killed or emptied, a watcher gets every event once and in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from app.domain.errors import LiveUnavailable, NotFound, StoreUnavailable
from app.domain.ports import Append, ArchiveState
from app.domain.runs.events import Entry, Kind, Position, encode
from app.live.batch import Batch, Reset
from app.live.connect import redis_client
from app.live.hub import Hub
from app.live.names import live_channel
from app.live.redis_log import RedisEventLog
from tests.integration.hub_fixtures import RedisServer, SilentProxy, running_server, wait_until

RUN = "r" + "a" * 19
START = Position(0, 0)


class Book:
    """An archive in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.epoch, self.bases, self.ended, self.down = 1, ((1, 0),), False, False
        self.reads = 0

    def read(self, run_id: str, after: int, limit: int) -> list[Entry]:
        self._check()
        self.reads += 1
        return self.entries[after : after + limit]

    def archive_state(self, run_id: str) -> ArchiveState | None:
        self._check()
        if run_id != RUN:
            return None
        return ArchiveState(self.epoch, len(self.entries), self.bases, self.ended)

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable()


class Writer:
    """Does what a run's writer does: keeps what is not archived, and sends it again when the live log lost it."""

    def __init__(self, log: RedisEventLog, book: Book, token: int = 1, epoch: int = 1) -> None:
        self.log, self.book, self.token, self.epoch = log, book, token, epoch
        self.kept: list[Entry] = []

    @property
    def top(self) -> int:
        return len(self.book.entries) + len(self.kept)

    def compose(self, count: int, kind: Kind = Kind.NOTICE, size: int = 10) -> None:
        for _ in range(count):
            seq = self.top + 1
            fields: dict[str, object] = {"message": f"{self.token}:{seq}".ljust(size)}
            self.kept.append(Entry(seq, encode(self.epoch, seq, 1.5, kind, fields), seq))

    def send(self, fresh: Sequence[Entry] | None = None) -> bool:
        try:
            answer = self.log.append(RUN, self.token, self.epoch, fresh or self.kept)
            if answer in (Append.MISSING, Append.BEHIND):
                answer = self.log.open(RUN, self.token, self.epoch, len(self.book.entries))
                answer = self.log.append(RUN, self.token, self.epoch, self.kept)
            return answer is Append.OK
        except LiveUnavailable:
            return False

    def write(self, count: int, size: int = 10) -> None:
        self.compose(count, size=size)
        self.send(self.kept[-count:])

    def archive(self, keep: int = 0) -> None:
        count = len(self.kept) - keep
        self.book.entries += self.kept[:count]
        del self.kept[:count]

    def end(self, *, announce: bool = True) -> None:
        self.compose(1, Kind.END)
        retained = list(self.kept)
        self.archive()
        self.book.ended = True
        if announce:
            self.log.append(RUN, self.token, self.epoch, retained)

    def successor(self) -> Writer:
        """Take over after the tail was lost: a new epoch begins where the archive ends, in SQL first."""
        self.book.epoch += 1
        self.book.bases = (*self.book.bases, (self.book.epoch, len(self.book.entries)))
        return Writer(self.log, self.book, self.token + 1, self.book.epoch)


class Watcher:
    """Follows a run in a thread of its own, as a browser does: keeps the events and forgets what a reset tells it to."""

    def __init__(self, hub: Hub, position: Position = START) -> None:
        self.events: list[dict[str, object]] = []
        self.first = position.seq
        self.resets: list[Reset] = []
        self.faults: list[str] = []
        self.finished = threading.Event()
        self.paused, self.resting = threading.Event(), threading.Event()
        self.left = threading.Event()
        self.cursor = hub.watch(RUN, position)
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    @property
    def seq(self) -> int:
        return self.first + len(self.events)

    def _follow(self) -> None:
        while not (self.finished.is_set() or self.left.is_set()):
            if self.paused.is_set():
                self.resting.set()
                time.sleep(0.01)
                continue
            found = self.cursor.next(0.1)
            if isinstance(found, Reset):
                self.resets.append(found)
                self.first = min(self.first, found.seq)
                del self.events[found.seq - self.first :]
            elif found is not None:
                self._take(found)
        self.cursor.close()

    def _take(self, batch: Batch) -> None:
        if batch.payloads and json.loads(unframed(batch.frame))["events"] != [json.loads(p) for p in batch.payloads]:
            self.faults.append("the frame differs from the payloads")
        for payload in batch.payloads:
            event = json.loads(payload)
            if event["seq"] != self.seq + 1:
                self.faults.append(f"{event['seq']} came after {self.seq}")
            self.events.append(event)
        if batch.last.seq != self.seq:
            self.faults.append(f"the batch claims {batch.last} at {self.seq}")
        if batch.ended:
            self.finished.set()

    def pause(self) -> None:
        self.paused.set()
        assert self.resting.wait(10)

    def leave(self) -> None:
        self.left.set()
        self._thread.join(20)


def unframed(frame: bytes) -> bytes:
    """Return the message of one whole server frame."""
    assert frame[0] == 0x81
    start, size = 2, frame[1]
    if size == 126:
        start, size = 4, int.from_bytes(frame[2:4], "big")
    elif size == 127:
        start, size = 10, int.from_bytes(frame[2:10], "big")
    assert len(frame) == start + size
    return frame[start:]


def truth(book: Book) -> list[dict[str, object]]:
    return [json.loads(entry.payload) for entry in book.entries]


def exact(watchers: Sequence[Watcher], book: Book) -> None:
    """Wait until all have finished; none may have a gap, a duplicate or an event that is not the archive's."""
    for watcher in watchers:
        if not watcher.finished.wait(20):
            pytest.fail(f"a watcher stands at {watcher.seq} of {len(book.entries)} ({watcher.faults})")
        assert watcher.faults == []
        assert watcher.events == truth(book)[watcher.first :]


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with running_server() as server:
        yield server


@contextmanager
def stage(server: RedisServer, url: str | None = None, **options: object) -> Iterator[SimpleNamespace]:
    """A hub, a writer and their server; whoever still watches at the end leaves."""
    with redis_client(server.url) as client, redis_client(url or server.url) as hub_client:
        client.flushall()
        log, book = RedisEventLog(client, 60), Book()
        hub = Hub(RedisEventLog(hub_client, 60), book, hub_client, **{"probe_s": 1.0, "grace_s": 0.0, **options})
        watchers: list[Watcher] = []

        def watch(*args: object) -> Watcher:
            watchers.append(Watcher(hub, *args))
            return watchers[-1]

        hub.start()
        try:
            yield SimpleNamespace(client=client, log=log, book=book, hub=hub, writer=Writer(log, book), watch=watch)
        finally:
            for watcher in watchers:
                watcher.leave()
            hub.stop()


def connected(hub: Hub) -> Callable[[], bool]:
    return lambda: not hub.degraded


def test_watchers_of_a_live_run_get_every_event_once(shared: RedisServer) -> None:
    with stage(shared) as on:
        on.writer.write(20)
        watchers = [on.watch() for _ in range(5)]
        for _ in range(50):
            on.writer.write(3)
        watchers += [on.watch() for _ in range(5)]
        on.writer.archive(keep=10)
        late = on.watch(Position(1, 100))
        on.writer.write(5)
        on.writer.end()
        exact([*watchers, late], on.book)
        assert late.events[0]["seq"] == 101


@pytest.mark.trap("S4")
def test_what_is_written_between_snapshot_and_subscription_arrives(shared: RedisServer) -> None:
    with stage(shared, check_s=3600) as on:
        wait_until(connected(on.hub))
        on.writer.write(3)
        subscribe, hold = on.hub._subscription._subscribe_wanted, threading.Event()
        on.hub._subscription._subscribe_wanted = lambda pubsub: subscribe(pubsub) if hold.is_set() else None
        watcher = on.watch()
        wait_until(lambda: watcher.seq == 3)
        on.writer.write(4)
        hold.set()
        wait_until(lambda: watcher.seq == 7)
        on.writer.end()
        exact([watcher], on.book)


@pytest.mark.trap("S3")
@pytest.mark.trap("S8")
def test_killed_subscription_connections_cost_nothing(shared: RedisServer) -> None:
    with stage(shared, check_s=3600) as on:
        watchers = [on.watch() for _ in range(3)]
        wait_until(connected(on.hub))
        for kill in range(8):
            on.writer.write(2)
            on.client.client_kill_filter(_type="pubsub")
            while on.hub.connections < kill + 2:
                on.writer.write(2)
        assert on.hub.connections >= 9
        on.writer.end()
        exact(watchers, on.book)
        assert not any(watcher.resets for watcher in watchers)


def test_an_emptied_server_is_filled_again_without_a_reset(shared: RedisServer) -> None:
    with stage(shared) as on:
        fast, slow = on.watch(), on.watch()
        on.writer.write(50)
        on.writer.archive(keep=20)
        wait_until(lambda: slow.seq == 50)
        slow.pause()
        for _ in range(5):
            on.writer.write(10)
            on.client.flushall()
            on.writer.write(10)
        slow.paused.clear()
        joined = on.watch(Position(1, 40))
        on.writer.end()
        exact([fast, slow, joined], on.book)
        assert not fast.resets and not slow.resets


@pytest.mark.trap("S15")
def test_a_restarted_server_costs_no_event() -> None:
    with running_server() as server, stage(server) as on:
        watchers = [on.watch() for _ in range(3)]
        on.writer.write(30)
        wait_until(lambda: all(watcher.seq == 30 for watcher in watchers))
        server.stop()
        wait_until(lambda: on.hub.degraded)
        on.writer.write(5)
        on.writer.archive()
        wait_until(lambda: all(watcher.seq == 35 for watcher in watchers))
        server.start()
        on.writer.compose(5)
        wait_until(on.writer.send)
        wait_until(lambda: all(watcher.seq == 40 for watcher in watchers))
        on.writer.end()
        exact(watchers, on.book)
        assert not any(watcher.resets for watcher in watchers)


def test_a_run_ends_for_its_watchers_while_redis_is_down() -> None:
    with running_server() as server, stage(server) as on:
        watcher = on.watch()
        on.writer.write(3)
        wait_until(lambda: watcher.seq == 3)
        server.stop()
        wait_until(lambda: on.hub.degraded)
        on.writer.end(announce=False)
        joined = on.watch(Position(1, 2))
        exact([watcher, joined], on.book)


@pytest.mark.parametrize("told", [True, False], ids=["announced", "found by the check"])
def test_a_new_epoch_makes_watchers_fall_back(shared: RedisServer, told: bool) -> None:
    with stage(shared, check_s=3600 if told else 0.3) as on:
        ahead, behind = on.watch(), on.watch()
        on.writer.write(10)
        on.writer.archive()
        wait_until(lambda: behind.seq == 10)
        behind.pause()
        on.writer.write(7)
        wait_until(lambda: ahead.seq == 17)
        on.client.flushall()
        successor = on.writer.successor()
        successor.compose(12)
        if told:
            successor.send()
        else:
            successor.archive()
        wait_until(lambda: ahead.seq == 22)
        assert ahead.resets == [Reset(2, 10)]
        behind.paused.clear()
        returned = on.watch(Position(1, 16))
        successor.end()
        exact([ahead, behind, returned], on.book)
        assert (behind.resets, returned.resets) == ([], [Reset(2, 10)])


def test_the_archive_of_an_unknown_epoch_is_not_mixed_with_what_it_replaced(shared: RedisServer) -> None:
    """The live log is silent about the new epoch, and the archive already reaches beyond the watcher."""
    with stage(shared, check_s=3600) as on:
        watcher = on.watch()
        on.writer.write(10)
        on.writer.archive()
        on.writer.write(7)
        wait_until(lambda: watcher.seq == 17)
        successor = on.writer.successor()
        successor.compose(20)
        successor.archive()
        on.client.delete(*on.client.keys("pw:*"))
        # An old announcement makes the watcher look for events that only the new epoch has.
        old = [encode(1, seq, 1.5, Kind.NOTICE, {"message": "lost"}) for seq in (25, 26)]
        on.hub._feeds[RUN]._ring.clear(99)
        on.client.publish(live_channel(RUN), b"\n".join([b"1 25", *old]))
        wait_until(lambda: watcher.resets)
        successor.end()
        on.hub.poke(RUN)
        exact([watcher], on.book)
        assert watcher.resets == [Reset(2, 10)]


@pytest.mark.trap("S12")
def test_a_slow_watcher_catches_up_beyond_the_ring_and_the_stream(shared: RedisServer) -> None:
    with stage(shared, ring_bytes=20_000, batch_bytes=5_000) as on:
        fast, slow = on.watch(), on.watch()
        on.writer.write(5)
        wait_until(lambda: slow.seq == 5)
        slow.pause()
        for number in range(60):
            on.writer.write(20, size=100)
            if number == 30:
                on.writer.archive(keep=40)
                on.log.trim(RUN, 1, len(on.book.entries))
            wait_until(lambda: fast.seq == on.writer.top)
        assert on.book.reads == 0, "who keeps up is served from memory"
        slow.paused.clear()
        wait_until(lambda: slow.seq == on.writer.top)
        assert on.book.reads > 0
        on.writer.end()
        exact([fast, slow], on.book)


@pytest.mark.trap("S6")
def test_a_finished_run_is_history_and_an_end(shared: RedisServer) -> None:
    with stage(shared) as on:
        on.writer.compose(2000)
        on.writer.end(announce=False)
        exact([on.watch(), on.watch(Position(1, 700)), on.watch(Position(1, 2001))], on.book)
        assert on.hub.subscriptions == 0
        never = on.watch(Position(7, 99_999))
        exact([never], on.book)
        assert len(never.events) == 2001


@pytest.mark.parametrize("how", ["check", "poke"])
def test_an_end_that_was_never_announced_is_found(shared: RedisServer, how: str) -> None:
    with stage(shared, check_s=0.2 if how == "check" else 3600) as on:
        watcher = on.watch()
        on.writer.write(3)
        wait_until(lambda: watcher.seq == 3)
        on.writer.end(announce=False)
        if how == "poke":
            on.hub.poke(RUN)
        exact([watcher], on.book)


def test_a_silently_dead_connection_is_replaced(shared: RedisServer) -> None:
    proxy = SilentProxy(shared.port)
    with stage(shared, f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.3", check_s=3600, probe_s=0.2) as on:
        watcher = on.watch()
        on.writer.write(3)
        wait_until(lambda: watcher.seq == 3)
        proxy.freeze()
        on.writer.write(3)
        wait_until(lambda: watcher.seq == 6)
        on.writer.end()
        exact([watcher], on.book)
    proxy.close()


def test_while_sql_is_away_watchers_wait_and_then_go_on(shared: RedisServer) -> None:
    with stage(shared, ring_bytes=1000) as on:
        on.writer.write(100)
        on.writer.archive()
        on.log.trim(RUN, 1, 100)
        watcher = on.watch()
        wait_until(lambda: watcher.seq == 100)
        on.book.down = True
        with pytest.raises(StoreUnavailable):
            on.hub.watch("r" + "b" * 19, START)
        late = on.watch()
        on.writer.write(5)
        wait_until(lambda: watcher.seq == 105)
        on.book.down = False
        on.writer.end()
        exact([watcher, late], on.book)


@pytest.mark.trap("S10")
def test_nothing_is_left_when_the_last_watcher_has_gone(shared: RedisServer) -> None:
    with stage(shared) as on:
        wait_until(connected(on.hub))
        for _ in range(3):
            watchers = [on.watch() for _ in range(5)]
            on.writer.write(1)
            wait_until(lambda watchers=watchers: all(watcher.seq == on.writer.top for watcher in watchers))
            assert (on.hub.cursors, on.hub.subscriptions) == (5, 1)
            for watcher in watchers:
                watcher.leave()
            wait_until(lambda: (on.hub.cursors, on.hub.subscriptions, on.hub._feeds) == (0, 0, {}))
            wait_until(lambda: on.client.pubsub_numsub(live_channel(RUN))[0][1] == 0)
        with pytest.raises(NotFound):
            on.hub.watch("r" + "b" * 19, START)
        assert on.hub.cursors == 0


def test_one_encoding_serves_all(shared: RedisServer) -> None:
    with stage(shared) as on:
        cursors = [on.hub.watch(RUN, START) for _ in range(20)]
        on.writer.write(10)
        frames = [cursor.next(5).frame for cursor in cursors]
        assert all(frame is frames[0] for frame in frames)
        for cursor in cursors:
            cursor.close()
            assert cursor.next(5) is None


def test_errors_of_the_loops_are_survived_and_counted(shared: RedisServer) -> None:
    with stage(shared) as on:
        watcher = on.watch()
        on.writer.write(1)
        wait_until(lambda: watcher.seq == 1)
        on.client.publish(live_channel(RUN), b"nonsense")
        wait_until(lambda: on.hub.errors == 1)
        on.book.archive_state, real = lambda run_id: 1 / 0, on.book.archive_state
        on.hub.poke(RUN)
        wait_until(lambda: on.hub.errors >= 2)
        on.book.archive_state = real
        on.writer.end()
        exact([watcher], on.book)
