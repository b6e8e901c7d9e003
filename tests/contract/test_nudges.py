"""What every carrier of nudges keeps: all listeners hear, a resync comes first, a loss costs but the nudge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.live.connect import redis_client
from app.live.memory import MemoryNudges
from app.live.nudges import RedisNudges
from tests.integration.hub_fixtures import RedisServer, SilentProxy, running_server, wait_until

Nudges = MemoryNudges | RedisNudges
OnNudge = Callable[[str, str], None]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def nudges(request: pytest.FixtureRequest) -> Iterator[Nudges]:
    if request.param == "memory":
        yield MemoryNudges()
    else:
        with redis_client(request.getfixturevalue("server").url) as client:
            yield RedisNudges(client)


@contextmanager
def listening(nudges: Nudges, also: OnNudge = lambda run_id, what: None) -> Iterator[list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    stopped = threading.Event()

    def on_nudge(run_id: str, what: str) -> None:
        heard.append((run_id, what))
        also(run_id, what)

    thread = threading.Thread(target=nudges.listen, args=(on_nudge, stopped.is_set))
    thread.start()
    try:
        wait_until(lambda: heard)
        yield heard
    finally:
        stopped.set()
        thread.join(10)
        assert not thread.is_alive()


def test_every_listener_hears_after_a_resync(nudges: Nudges) -> None:
    with listening(nudges) as one, listening(nudges) as two:
        nudges.send("r1", "reply")
        nudges.send("r2", "cancel")
        for heard in (one, two):
            wait_until(lambda heard=heard: len(heard) == 3)
            assert heard == [("*", "resync"), ("r1", "reply"), ("r2", "cancel")]


def test_a_nudge_without_listeners_is_no_error(nudges: Nudges) -> None:
    nudges.send("r1", "queue")


def test_a_listener_that_fails_hears_the_next_one(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(run_id: str, what: str) -> None:
        if run_id == "bad":
            raise ValueError("on purpose")

    with redis_client(server.url) as client, listening(RedisNudges(client), fail) as heard:
        client.publish("pw:nudge", b"not json")
        client.publish("pw:nudge", b"[]")
        RedisNudges(client).send("bad", "reply")
        RedisNudges(client).send("good", "reply")
        wait_until(lambda: ("good", "reply") in heard)
    assert "on purpose" in caplog.text


@pytest.mark.trap("S15")
def test_a_listener_outlives_the_server_and_resyncs(server: RedisServer) -> None:
    with running_server() as own, redis_client(own.url) as client:
        nudges = RedisNudges(client)
        with listening(nudges) as heard:
            client.client_kill_filter(_type="pubsub")
            wait_until(lambda: heard.count(("*", "resync")) == 2)
            own.stop()
            nudges.send("r1", "reply")
            assert nudges.lost == 1
            own.start()
            wait_until(lambda: heard.count(("*", "resync")) == 3)
            nudges.send("r2", "reply")
            wait_until(lambda: ("r2", "reply") in heard)
            assert ("r1", "reply") not in heard


def test_a_silently_dead_connection_is_noticed(server: RedisServer) -> None:
    proxy = SilentProxy(server.port)
    with redis_client(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.3") as client:
        nudges = RedisNudges(client, probe_s=0.2)
        with listening(nudges) as heard:
            proxy.freeze()
            wait_until(lambda: heard.count(("*", "resync")) == 2)
            nudges.send("r1", "reply")
            wait_until(lambda: ("r1", "reply") in heard)
    proxy.close()
