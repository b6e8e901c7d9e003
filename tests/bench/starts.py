"""`scripts/bench starts --launcher kubernetes`: many runs submitted at once, beside as many bare pods created at once.

A start counts once the service says that the program has started, or the cluster that the container runs or has run.
The bare pods are made twice: with one container, and as twins, with two.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from tests.bench.figures import median, short, spread, table
from tests.bench.pods import BarePods, Size, both
from tests.bench.stack import Stack

COMMAND = ("sh", "-c", "echo ready")
AT_ONCE, LOOK_EVERY_S, WITHIN_S = 16, 0.1, 240.0
# The nodes take leave of pods for a while after the cluster has forgotten them.
SETTLE_S = 5.0


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    size = Size(cpu=options.cpu)
    rates: dict[str, list[float]] = {"bare pods": [], "bare twins": [], "Podwire": []}
    with both() as (bare, stack, web):
        for number in range(options.rounds):
            measured = (
                _bare(bare, size, options.runs, twin=False),
                _bare(bare, size, options.runs, twin=True),
                _own(stack, web.port, size, options.runs),
            )
            for name, seconds in zip(rates, measured, strict=True):
                rates[name].append(options.runs / seconds)
                print(f"  round {number + 1}: {name} {seconds:.1f} s", flush=True)
    print(f"\n{options.runs} at once, each {options.cpu:g} cpu; starts per second, median (lowest…highest)")
    rows = []
    for name, values in rates.items():
        shares = [short(median(own / other for own, other in zip(rates["Podwire"], values, strict=True)))]
        rows.append([name, spread(values), *shares])
    table(["", "starts/s", "Podwire ÷ it"], rows)


def _bare(bare: BarePods, size: Size, count: int, *, twin: bool) -> float:
    took = _timed(count, lambda: bare.create(COMMAND, size, twin=twin), bare.begun)
    bare.clear()
    time.sleep(SETTLE_S)
    return took


def _own(stack: Stack, port: int, size: Size, count: int) -> float:
    with stack.engine.connect() as connection:
        before = connection.execute(text("SELECT count(*) FROM runs")).scalar_one()
    body = json.dumps({"command": list(COMMAND), **size.fields()})
    took = _timed(count, lambda: _submit(port, stack.token, body), lambda: _counted(stack, "started_at") - before)
    until = time.monotonic() + WITHIN_S
    while _counted(stack, "ended_at") < before + count:
        if time.monotonic() > until:
            raise SystemExit("runs did not end")
        time.sleep(0.2)
    return took


def _timed(count: int, begin: Callable[[], object], begun: Callable[[], int]) -> float:
    """Begin so many at once; return the seconds until all have begun."""
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for call in [pool.submit(begin) for _ in range(count)]:
            call.result()
    while begun() < count:
        if time.monotonic() > began + WITHIN_S:
            raise SystemExit(f"only {begun()} of {count} began")
        time.sleep(LOOK_EVERY_S)
    return time.monotonic() - began


def _counted(stack: Stack, column: str) -> int:
    with stack.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM runs WHERE {column} IS NOT NULL")).scalar_one())


def _submit(port: int, token: str, body: str) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("POST", "/v1/runs", body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    answer = line.getresponse()
    said = answer.read()
    line.close()
    if answer.status not in (201, 202):
        raise SystemExit(f"the submission was answered {answer.status}: {said.decode()}")
