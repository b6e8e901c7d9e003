"""`scripts/bench starts --launcher kubernetes`: many runs submitted at once, beside as many bare pods created at once.

A start counts once the service says that the program has started, or the cluster that the container runs or has run.
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


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    size = Size(cpu=options.cpu)
    bare_took, own_took = [], []
    with both() as (bare, stack, web):
        for number in range(options.rounds):
            bare_took.append(_bare(bare, size, options.runs))
            bare.clear()
            own_took.append(_own(stack, web.port, size, options.runs))
            print(f"  round {number + 1}: bare {bare_took[-1]:.1f} s, Podwire {own_took[-1]:.1f} s", flush=True)
    rates = [[options.runs / seconds for seconds in took] for took in (bare_took, own_took)]
    print(f"\n{options.runs} at once, each {options.cpu:g} cpu; starts per second, median (lowest…highest)")
    table(["", "starts/s"], [["bare pods", spread(rates[0])], ["Podwire", spread(rates[1])]])
    print(f"  median of the ratios: {short(median(own / other for other, own in zip(*rates, strict=True)))}")


def _bare(bare: BarePods, size: Size, count: int) -> float:
    return _timed(count, lambda: bare.create(COMMAND, size), bare.begun)


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
