"""What every keeper of readings does: the newest of each run, for a while, for everybody; a loss costs but the reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from app.domain.ports import Uses
from app.domain.runs.usage import Use
from app.live.connect import quick_client
from app.live.names import use_key
from app.live.uses import MemoryUses, RedisUses
from tests.integration.hub_fixtures import RedisServer, SilentProxy, running_server, wait_until

USE = Use(attempt=2, at=1700000000.25, memory_bytes=100, peak_memory_bytes=200, cpu_seconds=1.5, cpu_cores=0.5)
MakeUses = Callable[[float], Uses]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> MakeUses:
    if request.param == "memory":
        return MemoryUses
    url = request.getfixturevalue("server").url
    return lambda ttl_s: RedisUses(quick_client(url), ttl_s)


def test_the_newest_reading_of_a_run_is_kept(make: MakeUses) -> None:
    uses = make(60.0)
    newer = replace(USE, memory_bytes=150, cpu_cores=None)
    assert uses.get("r-new") is None
    uses.put("r-new", USE)
    assert uses.get("r-new") == USE
    uses.put("r-new", newer)
    assert uses.get("r-new") == newer and uses.get("r-other") is None


def test_a_reading_is_forgotten_when_no_other_follows(make: MakeUses) -> None:
    uses = make(0.3)
    uses.put("r-old", USE)
    wait_until(lambda: uses.get("r-old") is None)


@pytest.mark.parametrize("make", ["memory"], indirect=True)
def test_the_twin_is_emptied_as_a_redis_is(make: MakeUses) -> None:
    uses = make(60.0)
    uses.put("r1", USE)
    assert isinstance(uses, MemoryUses)
    uses.clear()
    assert uses.get("r1") is None


def test_replicas_see_one_another_and_an_emptied_redis_is_filled_again(server: RedisServer) -> None:
    writer, reader = (RedisUses(quick_client(server.url)) for _ in range(2))
    writer.put("r1", USE)
    assert reader.get("r1") == USE
    with quick_client(server.url) as client:
        assert 10_000 < client.pttl(use_key("r1")) <= 15_000
        client.flushall()
        assert reader.get("r1") is None
        writer.put("r1", USE)
        assert reader.get("r1") == USE
        client.set(use_key("r1"), b'{"attempt":1,"form":"of a later version"}')
        assert reader.get("r1") is None


def test_a_redis_that_does_not_answer_is_left_alone_for_a_while(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = SilentProxy(server.port)
    uses = RedisUses(quick_client(f"redis://127.0.0.1:{proxy.port}/0"))
    uses.put("r1", USE)
    assert uses.get("r1") == USE
    proxy.freeze()
    for _ in range(20):
        uses.put("r1", USE)
        assert uses.get("r1") is None, "it was asked again at once"
    assert uses.failures == 1
    monkeypatch.setattr(uses, "_again_at", 0.0)
    assert uses.get("r1") == USE
    proxy.close()
