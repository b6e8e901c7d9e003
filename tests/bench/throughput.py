"""`scripts/bench throughput --launcher kubernetes`: one run's output from its container to a WebSocket, beside raw kubectl.

The same bytes by `kubectl exec … cat` and by `kubectl logs -f`, in turn; from the first byte to the last, at the reader.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import select
import time
from collections.abc import Callable
from typing import IO

from websocket import create_connection

from tests.bench.figures import median, short, spread, table
from tests.bench.pods import BarePods, Size, both, kubectl

MIB = 1024 * 1024
LINE = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ, the same line again"
READ_BYTES = 256 * 1024
LOGS_WITHIN_S, SILENCE_S = 120.0, 20.0
SIZE = Size(cpu=1.0, memory_bytes=128 * MIB)

Taken = tuple[int, float]


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    count = options.megabytes * 1_000_000
    make = f'yes "{LINE}" | head -c {count} > /tmp/data'
    with both() as (bare, stack, web):
        exec_pod = bare.create(("sh", "-c", f"{make}; echo made; exec sleep 3600"), SIZE)
        bare.first_byte(exec_pod)
        sides: dict[str, Callable[[], Taken]] = {
            "kubectl exec … cat": lambda: _drain(bare, "exec", exec_pod, "--", "cat", "/tmp/data"),
            "kubectl logs -f": lambda: _logs(bare, f"{make}; exec cat /tmp/data"),
            "Podwire": lambda: _own(web.port, stack.token, f"{make}; exec cat /tmp/data", count),
        }
        taken: dict[str, list[Taken]] = {name: [] for name in sides}
        for number in range(options.rounds):
            for name, measure in sides.items():
                taken[name].append(measure())
                size, seconds = taken[name][-1]
                print(f"  round {number + 1}: {name}: {size:,} bytes in {seconds:.2f} s", flush=True)
    _show(taken, count)


def _drain(bare: BarePods, *words: str) -> Taken:
    with kubectl("-n", bare.namespace, *words) as process:
        if process.stdout is None:
            raise SystemExit("kubectl has no output")
        taken = _read(process.stdout)
        process.kill()
    return taken


def _logs(bare: BarePods, script: str) -> Taken:
    pod = bare.create(("sh", "-c", script), SIZE)
    until = time.monotonic() + LOGS_WITHIN_S
    # kubectl refuses until the container is there; what was written before is given all the same.
    while (taken := _drain(bare, "logs", "-f", pod))[0] == 0:
        if time.monotonic() > until:
            raise SystemExit("no log was had")
        time.sleep(0.05)
    return taken


def _read(stream: IO[bytes]) -> Taken:
    """Read to the end, or to a long silence: `logs -f` can wait for ever for what the node has rotated away."""
    began = last = 0.0
    total = 0
    while select.select([stream], [], [], SILENCE_S)[0] and (data := stream.read(READ_BYTES)):
        last = time.monotonic()
        began = began or last
        total += len(data)
    return total, max(last - began, 1e-3)


def _own(port: int, token: str, script: str, count: int) -> Taken:
    body = {"command": ["sh", "-c", script], "output_limit": 2 * count, **SIZE.fields()}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("POST", "/v1/runs", json.dumps(body), headers)
    answer = line.getresponse()
    submitted = json.loads(answer.read())
    if answer.status not in (201, 202):
        raise SystemExit(f"the submission was answered {answer.status}: {submitted}")
    address = f"ws://127.0.0.1:{port}/v1/runs/{submitted['id']}/stream"
    stream = create_connection(address, timeout=120, header=headers, skip_utf8_validation=True)
    began, total, last = 0.0, 0, {"kind": ""}
    while last["kind"] != "end":
        for event in json.loads(stream.recv()).get("events", ()):
            last = event
            if event["kind"] == "output":
                began = began or time.monotonic()
                total += len(event["text"]) if "text" in event else len(base64.b64decode(event["base64"]))
                ended = time.monotonic()
    stream.close()
    line.close()
    if total != count:
        raise SystemExit(f"{total} of {count} bytes came, and then {last}")
    return total, ended - began


def _show(taken: dict[str, list[Taken]], count: int) -> None:
    rates = {name: [size / seconds / 1e6 for size, seconds in rounds] for name, rounds in taken.items()}
    print(f"\n{count:,} bytes of text lines; megabytes per second from the first byte to the last, median (lowest…highest)")
    rows = []
    for name, values in rates.items():
        shares = [short(median(own / other for own, other in zip(values, rates[base], strict=True))) for base in list(rates)[:2]]
        whole = sum(size == count for size, _ in taken[name])
        rows.append([name, spread(values), *shares, f"{whole} of {len(values)}"])
    table(["", "MB/s", "÷ exec", "÷ logs -f", "rounds with every byte"], rows)
