"""`scripts/bench overhead`: from a submission to the first output byte at a WebSocket, beside the bare start of the program.

The smallest whole Podwire: SQLite, one web process, one worker, the local launcher. One run at a time, the two sides in turn.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Sequence

from websocket import create_connection

from tests.bench.figures import percentile, short, table
from tests.bench.servers import BenchRedis, raise_open_files
from tests.bench.stack import Stack

PROGRAMS = {"sh": ("/bin/sh", "-c", "echo ready"), "python": (sys.executable, "-u", "-c", "print('ready')")}
PAUSE_S = 0.05


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    raise_open_files()
    redis = BenchRedis()
    redis.start()
    stack = Stack(redis.url)
    try:
        with stack.web() as web, stack.worker():
            for name in options.programs:
                _show(name, *_pairs(web.port, stack.token, PROGRAMS[name], options.pairs))
    finally:
        stack.close()
        redis.remove()


def _pairs(port: int, token: str, command: Sequence[str], count: int) -> tuple[list[float], list[float], list[float]]:
    bare, whole, accepted = [], [], []
    for number in range(count + 3):
        first = _bare(command)
        answered, output = submitted(port, token, {"command": list(command)})
        # The first few warm both sides up.
        if number >= 3:
            bare.append(first)
            whole.append(output)
            accepted.append(answered)
        time.sleep(PAUSE_S)
    return bare, whole, accepted


def _bare(command: Sequence[str]) -> float:
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        if process.stdout is None or not process.stdout.read(1):
            raise SystemExit("the program wrote nothing")
        first = time.monotonic() - began
        process.stdout.read()
    return first


def submitted(port: int, token: str, body: dict[str, object]) -> tuple[float, float]:
    """Return when the submission was answered, and when the first output came, in seconds from its beginning."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    began = time.monotonic()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("POST", "/v1/runs", json.dumps(body), headers)
    answer = line.getresponse()
    run = json.loads(answer.read())
    answered = time.monotonic() - began
    if answer.status not in (201, 202):
        raise SystemExit(f"the submission was answered {answer.status}: {run}")
    stream = create_connection(
        f"ws://127.0.0.1:{port}/v1/runs/{run['id']}/stream", timeout=60, header=[f"Authorization: Bearer {token}"]
    )
    output = None
    while output is None:
        message = json.loads(stream.recv())
        if any(event["kind"] == "output" for event in message.get("events", [])):
            output = time.monotonic() - began
    while message.get("events", [{}])[-1].get("kind") != "end":
        message = json.loads(stream.recv())
    stream.close()
    line.close()
    return answered, output


def _show(name: str, bare: list[float], whole: list[float], accepted: list[float]) -> None:
    own = [both - alone for both, alone in zip(whole, bare, strict=True)]
    print(f"\n{len(bare)} runs of {name} that prints one word, one at a time; milliseconds")
    rows = [
        [title, *(short(percentile(times, percent) * 1000) for percent in (50, 99))]
        for title, times in (
            ("bare process: start to first byte", bare),
            ("submission to answer", accepted),
            ("submission to first byte at a WebSocket", whole),
            ("Podwire's own share of it", own),
        )
    ]
    table(["", "p50", "p99"], rows)
    print(f"  ratio of the medians: {short(percentile(whole, 50) / percentile(bare, 50))}")
