"""What every live log keeps: the fence, the conditional append, and identical ids and bytes after a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import fakeredis
import pytest

from app.domain.errors import LiveUnavailable
from app.domain.ports import Append, Head
from app.domain.runs.events import Entry, Kind, encode
from app.live.connect import redis_client
from app.live.memory import MemoryEventLog
from app.live.names import live_channel, parse_announcement
from app.live.redis_log import MAX_CALL_ENTRIES, RedisEventLog
from tests.integration.hub_fixtures import RedisServer, running_server

RUN = "r" + "a" * 19
OTHER = "r" + "b" * 19

Log = MemoryEventLog | RedisEventLog


class FakeServerLog(RedisEventLog):
    """fakeredis has no INFO."""

    def server_id(self) -> str:
        return "fake"


def payload(epoch: int, seq: int) -> bytes:
    return encode(epoch, seq, 1.5, Kind.NOTICE, {"message": f"line\n{seq} é"})


def payloads(first: int, last: int, epoch: int) -> tuple[bytes, ...]:
    return tuple(payload(epoch, seq) for seq in range(first, last + 1))


def entries(first: int, last: int, epoch: int = 1) -> list[Entry]:
    return [Entry(seq, payload(epoch, seq), seq * 10) for seq in range(first, last + 1)]


@pytest.fixture(scope="module")
def server_of() -> Iterator[Callable[[str], RedisServer]]:
    """Start each kind of server once."""
    running: dict[str, RedisServer] = {}
    with ExitStack() as stack:

        def get(kind: str) -> RedisServer:
            if kind not in running:
                running[kind] = stack.enter_context(running_server(kind))
            return running[kind]

        yield get


@pytest.fixture(params=["memory", "fake", "redis", "valkey"])
def log(request: pytest.FixtureRequest, server_of: Callable[[str], RedisServer]) -> Iterator[Log]:
    if request.param == "memory":
        yield MemoryEventLog()
    elif request.param == "fake":
        with fakeredis.FakeRedis() as client:
            yield FakeServerLog(client, 60)
    else:
        with redis_client(server_of(request.param).url) as client:
            client.flushall()
            client.script_flush()
            yield RedisEventLog(client, 60)


def test_nothing_is_held_before_open(log: Log) -> None:
    assert log.append(RUN, 1, 1, entries(1, 2)) is Append.MISSING
    assert log.append(RUN, 1, 1, ()) is Append.MISSING
    assert log.trim(RUN, 1, 5) is Append.MISSING
    assert log.head(RUN) is None
    assert log.read(RUN, 1, 0, 10) == []


def test_what_is_appended_is_read_back_byte_for_byte(log: Log) -> None:
    assert log.open(RUN, 3, 1, 0) is Append.OK
    assert log.append(RUN, 3, 1, entries(1, 2)) is Append.OK
    assert log.append(RUN, 3, 1, entries(3, 12)) is Append.OK
    assert log.read(RUN, 1, 0, 100) == entries(1, 12)
    assert log.read(RUN, 1, 8, 3) == entries(9, 11), "in the order of numbers, not of texts"
    assert log.read(RUN, 2, 0, 100) == []
    assert log.head(RUN) == Head(3, 1, 12, 0, log.server_id())
    assert log.head(OTHER) is None


def test_entries_that_are_there_already_are_skipped(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    log.append(RUN, 1, 1, entries(1, 5))
    assert log.append(RUN, 1, 1, entries(1, 5)) is Append.OK, "the answer to the first call got lost"
    assert log.append(RUN, 1, 1, entries(3, 8)) is Append.OK
    assert log.append(RUN, 1, 1, entries(2, 4)) is Append.OK
    head = log.head(RUN)
    assert head is not None and head.seq == 8
    assert log.read(RUN, 1, 0, 100) == entries(1, 8)


def test_a_gap_or_another_epoch_is_refused_and_changes_nothing(log: Log) -> None:
    log.open(RUN, 1, 2, 10)
    assert log.append(RUN, 1, 2, entries(12, 13)) is Append.BEHIND
    assert log.append(RUN, 1, 1, entries(11, 12)) is Append.BEHIND
    assert log.append(RUN, 1, 3, entries(11, 12)) is Append.BEHIND
    assert log.head(RUN) == Head(1, 2, 10, 10, log.server_id())
    assert log.append(RUN, 1, 2, entries(11, 12, 2)) is Append.OK


def test_a_writer_with_a_lower_token_is_fenced_everywhere(log: Log) -> None:
    log.open(RUN, 2, 1, 0)
    log.append(RUN, 2, 1, entries(1, 1))
    assert log.append(RUN, 1, 1, entries(2, 2)) is Append.FENCED
    assert log.append(RUN, 1, 1, ()) is Append.FENCED
    assert log.open(RUN, 1, 2, 0) is Append.FENCED
    assert log.trim(RUN, 1, 1) is Append.FENCED
    assert log.head(RUN) == Head(2, 1, 1, 0, log.server_id())
    assert log.read(RUN, 1, 0, 10) == entries(1, 1)


def test_an_empty_append_raises_the_fence_so_that_the_tail_stands_still(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    log.append(RUN, 1, 1, entries(1, 4))
    assert log.append(RUN, 2, 9, ()) is Append.OK, "whatever the epoch"
    assert log.append(RUN, 1, 1, entries(5, 5)) is Append.FENCED
    assert log.head(RUN) == Head(2, 1, 4, 0, log.server_id())
    assert log.append(RUN, 2, 1, entries(5, 5)) is Append.OK


def test_a_refused_append_of_a_higher_token_still_raises_the_fence(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    assert log.append(RUN, 2, 1, entries(7, 7)) is Append.BEHIND
    assert log.append(RUN, 1, 1, entries(1, 1)) is Append.FENCED


def test_sending_again_after_a_loss_gives_identical_ids(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    log.append(RUN, 1, 1, entries(1, 9))
    if isinstance(log, MemoryEventLog):
        log.clear()
    else:
        log._client.flushall()
    assert log.append(RUN, 1, 1, entries(10, 10)) is Append.MISSING
    assert log.open(RUN, 1, 1, 4) is Append.OK
    assert log.append(RUN, 1, 1, entries(5, 10)) is Append.OK
    assert log.read(RUN, 1, 0, 100) == entries(5, 10)
    assert log.head(RUN) == Head(1, 1, 10, 4, log.server_id())


def test_a_takeover_begins_an_epoch_that_drops_the_tail(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    log.append(RUN, 1, 1, entries(1, 9))
    assert log.open(RUN, 2, 2, 6) is Append.OK
    assert log.append(RUN, 2, 2, entries(7, 8, 2)) is Append.OK
    assert log.read(RUN, 1, 0, 100) == []
    assert log.read(RUN, 2, 0, 100) == entries(7, 8, 2)
    assert log.append(RUN, 1, 1, entries(10, 10)) is Append.FENCED
    assert log.head(RUN) == Head(2, 2, 8, 6, log.server_id())


def test_trim_raises_the_floor_and_never_lowers_it(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    log.append(RUN, 1, 1, entries(1, 9))
    assert log.trim(RUN, 1, 6) is Append.OK
    assert log.trim(RUN, 1, 2) is Append.OK
    assert log.read(RUN, 1, 0, 100) == entries(7, 9)
    assert log.head(RUN) == Head(1, 1, 9, 6, log.server_id())
    assert log.trim(RUN, 1, 99) is Append.OK
    assert log.append(RUN, 1, 1, entries(10, 10)) is Append.OK
    assert log.head(RUN) == Head(1, 1, 10, 9, log.server_id())
    assert log.read(RUN, 1, 0, 100) == entries(10, 10)


def test_a_long_list_is_appended_in_several_steps(log: Log) -> None:
    log.open(RUN, 1, 1, 0)
    many = entries(1, 2 * MAX_CALL_ENTRIES + 1)
    assert log.append(RUN, 1, 1, many) is Append.OK
    assert log.read(RUN, 1, 0, len(many) + 1) == many


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_appends_are_announced_once_with_all_that_is_new(server_of: Callable[[str], RedisServer], kind: str) -> None:
    with redis_client(server_of(kind).url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        log = RedisEventLog(client, 60)
        pubsub.subscribe(live_channel(RUN))
        pubsub.get_message(timeout=2)
        log.open(RUN, 1, 3, 4)
        log.append(RUN, 1, 3, entries(5, 7, 3))
        log.append(RUN, 1, 3, entries(5, 7, 3))
        log.append(RUN, 1, 3, entries(7, 9, 3))
        said = [parse_announcement(pubsub.get_message(timeout=2)["data"]) for _ in range(3)]
        assert [(a.epoch, a.seq) for a in said] == [(3, 4), (3, 5), (3, 8)]
        assert [a.payloads for a in said] == [(), payloads(5, 7, 3), payloads(8, 9, 3)]
        assert pubsub.get_message(timeout=0.1) is None
        ttl_s = [client.ttl(key) for key in client.scan_iter(match="pw:*")]
        assert len(ttl_s) == 2 and all(0 < ttl <= 60 for ttl in ttl_s)


def test_every_failure_is_one_error() -> None:
    with running_server() as server, redis_client(server.url) as client:
        log = RedisEventLog(client, 60)
        log.open(RUN, 1, 1, 0)
        server.stop()
        for call in (
            lambda: log.append(RUN, 1, 1, entries(1, 1)),
            lambda: log.open(RUN, 1, 1, 0),
            lambda: log.trim(RUN, 1, 0),
            lambda: log.head(RUN),
            lambda: log.read(RUN, 1, 0, 1),
            lambda: log.server_id(),
        ):
            with pytest.raises(LiveUnavailable):
                call()
        server.start()
        assert log.append(RUN, 1, 1, entries(1, 1)) is Append.MISSING


def test_a_restarted_server_is_another_one() -> None:
    with running_server() as server, redis_client(server.url) as client:
        log = RedisEventLog(client, 60)
        before = log.server_id()
        assert before == log.server_id()
        server.stop()
        server.start()
        assert log.server_id() != before
    memory = MemoryEventLog()
    before = memory.server_id()
    memory.restart()
    assert memory.server_id() != before
