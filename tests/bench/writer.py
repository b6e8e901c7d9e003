"""The process that makes events, at a given rate, in the way of the server under test. Driven by JSON lines on stdin.

`python -m tests.bench.writer podwire|channels|sock REDIS_URL` answers {"runs": [...], "rate": events/s, "seconds": s}, the events
going to the runs in turn, by {"sent": n, "seconds": s}.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle

import redis

from tests.bench.swarm import stamped

FILLER = "a line of output such as programs print it, about eighty characters long 0123456789\n"


def due(rate: float, seconds: float) -> Iterator[float]:
    """Yield how long to sleep before each event of an even rate; a writer that is late does not sleep."""
    began = time.monotonic()
    for number in range(max(1, round(rate * seconds))):
        now = time.monotonic()
        if now - began > seconds + 0.2:
            return
        yield max(0.0, began + number / rate - now)


class PodwireWriter:
    """Appends output events with the real event log, as the supervisor of each run would."""

    def __init__(self, url: str) -> None:
        from app.domain.runs.events import Entry, Kind, encode, output_fields
        from app.live.connect import redis_client
        from app.live.redis_log import RedisEventLog

        self._log = RedisEventLog(redis_client(url), 3600)
        self._seqs: dict[str, int] = {}
        self._entry, self._encode, self._fields, self._kind = Entry, encode, output_fields, Kind.OUTPUT

    def send(self, run_id: str) -> None:
        """Append one event."""
        if run_id not in self._seqs:
            self._log.open(run_id, 1, 1, 0)
        seq = self._seqs[run_id] = self._seqs.get(run_id, 0) + 1
        fields = self._fields("stdout", seq * 100, stamped(FILLER).encode())
        payload = self._encode(1, seq, time.time(), self._kind, fields)
        answer = self._log.append(run_id, 1, 1, [self._entry(seq, payload)])
        if answer.value != "ok":
            raise RuntimeError(f"append: {answer}")


class SockWriter:
    """Publishes on the run's channel."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url)

    def send(self, run_id: str) -> None:
        """Publish one event of the same size as Podwire's."""
        self._redis.publish(f"bench:{run_id}", peer_event())


def peer_event() -> str:
    """Return an event that is as long as Podwire's."""
    return json.dumps({"epoch": 1, "seq": 1000, "kind": "output", "time": time.time(), "text": stamped(FILLER)})


def paced(send: Callable[[str], None], runs: Iterator[str], rate: float, seconds: float) -> int:
    """Send events at the rate; return how many."""
    sent = 0
    for pause in due(rate, seconds):
        if pause > 0:
            time.sleep(pause)
        send(next(runs))
        sent += 1
    return sent


async def paced_async(send: Callable[[str], Awaitable[None]], runs: Iterator[str], rate: float, seconds: float) -> int:
    """Send events at the rate, each awaited; return how many."""
    sent = 0
    for pause in due(rate, seconds):
        if pause > 0:
            await asyncio.sleep(pause)
        await send(next(runs))
        sent += 1
    return sent


async def serve_channels() -> None:
    """Answer commands by `group_send`, in one event loop so that the layer keeps its connection."""
    from channels.layers import get_channel_layer

    from tests.bench.peers import channels_app

    channels_app.set_up()
    layer = get_channel_layer()

    async def send(run_id: str) -> None:
        await layer.group_send(f"run_{run_id}", {"type": "run.event", "text": peer_event()})

    for line in sys.stdin:
        command = json.loads(line)
        began = time.monotonic()
        sent = await paced_async(send, cycle(command["runs"]), command["rate"], command["seconds"])
        print(json.dumps({"sent": sent, "seconds": time.monotonic() - began}), flush=True)


def main() -> None:
    """Serve commands until stdin ends."""
    kind, url = sys.argv[1:3]
    os.environ["BENCH_REDIS"] = url
    if kind == "channels":
        asyncio.run(serve_channels())
        return
    writer = PodwireWriter(url) if kind == "podwire" else SockWriter(url)
    for line in sys.stdin:
        command = json.loads(line)
        began = time.monotonic()
        sent = paced(writer.send, cycle(command["runs"]), command["rate"], command["seconds"])
        print(json.dumps({"sent": sent, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
