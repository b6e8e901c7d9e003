"""`scripts/bench fanout`: how many events per second one web process delivers to how many sockets, and what idle sockets cost.

Three servers, one process each, in turn, on the same Redis: Podwire as it is served, Django Channels, and flask-sock with one
Redis subscription per socket. The rate of events rises until a step is not delivered in time; the figure is the best step.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.figures import median, percentile, short, spread, table
from tests.bench.servers import BIN, GUNICORN, BenchRedis, Server, Writer, raise_open_files, unused_port
from tests.bench.stack import Stack
from tests.bench.swarm import ConnectFailed, Swarm, Tally

P99_S = 0.120
DELIVERED = 0.98
MADE = 0.95
MAX_RATE = 20_000.0
REFINEMENTS = 2
TRIES = 4
IDLE_RUNS = 100


@dataclass(frozen=True)
class Contestant:
    """A server under test: how it is started, how its sockets are opened, and how events are made for it."""

    name: str
    server: Callable[[], Server]
    writer: str
    path: str
    environment: dict[str, str]
    headers: Sequence[str] = ()
    files_per_socket: int = 1


@dataclass(frozen=True)
class Step:
    """What came of one rate: events per second asked for, deliveries per second, latencies in seconds, CPU as cores."""

    rate: float
    deliveries: float
    share: float
    made: float
    p50_s: float
    p99_s: float
    per_frame: float
    server_cpu: float
    client_cpu: float

    @property
    def whole(self) -> bool:
        """True when all was delivered, if late."""
        return self.share >= DELIVERED and self.made >= MADE

    @property
    def good(self) -> bool:
        """True when all was delivered in time."""
        return self.whole and self.p99_s <= P99_S


@dataclass
class Idle:
    """What so many idle sockets cost; in bytes and seconds."""

    sockets: int
    base_rss: int
    rss: int
    pss: int
    redis: int
    connect_s: float


class Field:
    """The servers of one run of the benchmark, over one Redis and one database."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Start the Redis and prepare Podwire's runs."""
        raise_open_files()
        self.options = options
        self.redis = BenchRedis()
        self.redis.start()
        self.stack = Stack(self.redis.url)
        makers = {"podwire": self._podwire, "channels": self._channels, "flask-sock": self._flask_sock}
        self.contestants = [makers[name]() for name in options.servers]

    def close(self) -> None:
        """End everything."""
        self.stack.close()
        self.redis.remove()

    def _podwire(self) -> Contestant:
        return Contestant("podwire", self.stack.web, "podwire", "/v1/runs/{}/stream", {}, self.stack.headers())

    def _channels(self) -> Contestant:
        environment = {"BENCH_REDIS": self.redis.url, "BENCH_LAYER": self.options.layer}
        return Contestant("channels", lambda: self._asgi(environment), "channels", "/runs/{}", environment)

    def _asgi(self, environment: dict[str, str]) -> Server:
        port, name = unused_port(), "tests.bench.peers.channels_app:application"
        if self.options.asgi == "uvicorn":
            command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "--lifespan", "off", name]
        else:
            command = [str(BIN / "daphne"), "-p", str(port), "-v", "0", name]
        return Server("channels", command, environment, port)

    def _flask_sock(self) -> Contestant:
        environment = {"BENCH_REDIS": self.redis.url}

        def server() -> Server:
            port = unused_port()
            command = [*GUNICORN, "--backlog", "4096", "-b", f"127.0.0.1:{port}", "tests.bench.peers.sock_app:app"]
            return Server("flask-sock", command, environment, port)

        return Contestant("flask-sock", server, "sock", "/runs/{}", environment, files_per_socket=2)


def run(options: argparse.Namespace) -> None:
    """Measure what was asked for, and print it."""
    field = Field(options)
    try:
        if "one" in options.parts:
            _rising(field, 1, options.sockets, f"one run -> {options.sockets:,} sockets", 2.0)
        if "many" in options.parts:
            _rising(field, options.runs, 1, f"{options.runs:,} runs -> 1 socket each", 200.0)
        if "idle" in options.parts:
            _idle(field)
    finally:
        field.close()


def _rising(field: Field, count: int, fan: int, title: str, first: float) -> None:
    best: dict[str, list[Step]] = defaultdict(list)
    peaks: dict[str, list[float]] = defaultdict(list)
    for number in range(field.options.rounds):
        # Each round has runs of its own: the history of the last one is not to be sent again.
        runs = field.stack.running(count)
        for contestant in field.contestants:
            try:
                steps = _climb(field, contestant, runs, fan, first)
            except ConnectFailed as error:
                print(f"  {contestant.name}: {error}")
                continue
            good = [step for step in steps if step.good]
            found = max(good, key=lambda step: step.deliveries) if good else min(steps, key=lambda step: step.p99_s)
            best[contestant.name].append(found)
            peaks[contestant.name].append(max(step.deliveries for step in steps))
            got = f"{short(found.deliveries)} deliveries/s at p99 {found.p99_s * 1000:.0f} ms"
            print(f"  round {number + 1} {contestant.name}: {got}", file=sys.stderr)
    _show(title, best, peaks)


def _show(title: str, best: dict[str, list[Step]], peaks: dict[str, list[float]]) -> None:
    print(f"\n{title}: best rate at p99 <= {P99_S * 1000:.0f} ms; median (lowest…highest) of rounds")
    ours = median(step.deliveries for step in best.get("podwire", []))
    rows = [
        [
            name,
            spread(step.deliveries for step in steps),
            spread(step.rate for step in steps),
            spread(step.p50_s * 1000 for step in steps),
            spread(step.p99_s * 1000 for step in steps),
            short(median(step.per_frame for step in steps)),
            short(median(step.server_cpu / step.deliveries * 1e6 for step in steps)),
            short(median(step.server_cpu for step in steps)),
            short(median(step.client_cpu for step in steps)),
            short(median(peaks[name])),
            short(ours / max(median(peaks[name]), 1e-9)) if name != "podwire" else "",
        ]
        for name, steps in best.items()
    ]
    header = ["server", "deliveries/s", "events/s", "p50 ms", "p99 ms", "events/frame"]
    header += ["server us each", "server cores", "client cores", "most at any latency", "podwire in time ÷ that"]
    table(header, rows)


def _climb(field: Field, contestant: Contestant, runs: Sequence[str], fan: int, first: float) -> list[Step]:
    """Double the rate until not all is delivered any more; then look between the best good rate and twice that."""
    with contestant.server() as server, Writer(contestant.writer, field.redis.url, contestant.environment) as writer:
        swarm = Swarm("127.0.0.1", server.port, contestant.headers)
        _open(swarm, server, [contestant.path.format(run_id) for run_id in runs] * fan)
        swarm.pump(1.0)
        _step(swarm, writer, server, runs, fan, first, 1.0)
        steps: list[Step] = []

        def measure(rate: float) -> Step:
            # Other work on the machine can spoil a step: it is tried again.
            for _ in range(TRIES):
                steps.append(_step(swarm, writer, server, runs, fan, rate, field.options.seconds))
                if field.options.verbose:
                    print("   ", contestant.name, steps[-1], file=sys.stderr)
                if steps[-1].good or swarm.closed:
                    break
            return steps[-1]

        rate = first
        while rate <= MAX_RATE and measure(rate).whole and not swarm.closed:
            rate *= 2
        low = max((step.rate for step in steps if step.good), default=0.0)
        high = 2 * low
        for _ in range(REFINEMENTS if low else 0):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if measure(middle).good else (low, middle)
        swarm.close()
    return steps


def _open(swarm: Swarm, server: Server, paths: Sequence[str]) -> float:
    try:
        return swarm.connect(paths)
    except ConnectFailed:
        print(server.tail(), file=sys.stderr)
        raise


def _step(swarm: Swarm, writer: Writer, server: Server, runs: Sequence[str], fan: int, rate: float, seconds: float) -> Step:
    cpu, began = server.cpu_s(), time.monotonic()
    writer.begin(runs, rate, seconds)
    tally = swarm.pump(seconds + 10, lambda _: writer.through())
    sent, _ = writer.end()
    swarm.pump(1.0, lambda seen: seen.events >= sent * fan, tally)
    elapsed = max(seconds, time.monotonic() - began)
    used = server.cpu_s() - cpu
    _settle(swarm, sent * fan - tally.events)
    return Step(
        rate=rate,
        deliveries=tally.events / elapsed,
        share=tally.events / (sent * fan),
        made=sent / max(1, round(rate * seconds)),
        p50_s=percentile(tally.latencies, 50),
        p99_s=percentile(tally.latencies, 99),
        per_frame=tally.events / max(1, tally.frames),
        server_cpu=used / elapsed,
        client_cpu=tally.cpu_s / elapsed,
    )


def _settle(swarm: Swarm, missing: int) -> None:
    """Take in what is late, so that it does not count for the next step; some of it may never come."""
    late = Tally()
    for _ in range(20):
        before = late.events
        if missing <= late.events:
            return
        swarm.pump(0.5, lambda seen: seen.events >= missing, late)
        if late.events == before:
            return


def _idle(field: Field) -> None:
    count, seen = field.options.idle, defaultdict(list)
    runs = field.stack.running(IDLE_RUNS)
    for _ in range(field.options.rounds):
        for contestant in field.contestants:
            try:
                seen[contestant.name].append(_idle_of(field, contestant, runs, count))
            except ConnectFailed as error:
                print(f"  {contestant.name}: {error}")
    print(f"\n{count:,} idle sockets in one process; median (lowest…highest) of rounds")
    rows = [
        [
            name,
            short(median(found.sockets for found in founds)),
            spread(found.rss / 1e6 for found in founds),
            spread((found.rss - found.base_rss) / 1e6 for found in founds),
            short(median((found.rss - found.base_rss) / found.sockets / 1000 for found in founds)),
            spread(found.pss / 1e6 for found in founds),
            short(median(found.redis / 1e6 for found in founds)),
            spread(found.connect_s for found in founds),
        ]
        for name, founds in seen.items()
    ]
    header = ["server", "sockets", "RSS MB", "more than without MB", "kB a socket", "PSS MB", "more in Redis MB"]
    table([*header, "connected in s"], rows)


def _idle_of(field: Field, contestant: Contestant, runs: Sequence[str], count: int) -> Idle:
    # Beside sockets, a process has some hundred other files.
    count = min(count, (raise_open_files() - 300) // contestant.files_per_socket)
    paths = [contestant.path.format(runs[number % len(runs)]) for number in range(count)]
    with contestant.server() as server:
        first = Swarm("127.0.0.1", server.port, contestant.headers)
        first.connect(paths[:10])
        first.pump(1.0)
        first.close()
        base, redis = server.memory(), field.redis.used_bytes()
        swarm = Swarm("127.0.0.1", server.port, contestant.headers)
        connect_s = _open(swarm, server, paths)
        swarm.pump(3.0)
        rss, pss = server.memory()
        more = field.redis.used_bytes() - redis
        swarm.close()
    return Idle(count, base[0], rss, pss, more, connect_s)
