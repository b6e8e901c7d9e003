"""`scripts/bench overhead --launcher kubernetes`: from a submission to the first output byte at a WebSocket, beside a bare pod.

The bare pod's first byte is that which `logs -f` gives, from the creation on: once asked for every 10 ms over open connections,
which nobody does, once by kubectl, again and again. One pod at a time, the sides in turn.
"""

from __future__ import annotations

import argparse
import time

from tests.bench.figures import median, percentile, short, table
from tests.bench.overhead import submitted
from tests.bench.pods import WITHIN_S, BarePods, Size, both, kubectl

COMMAND = ("sh", "-c", "echo ready")
PAUSE_S = 0.3
ASKED, KUBECTL = "bare pod: creation to first byte, log asked for", "bare pod: creation to first byte, kubectl logs -f"
ANSWER, OWN = "submission to answer", "submission to first byte at a WebSocket"


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    size = Size(cpu=options.cpu)
    sides: dict[str, list[float]] = {ASKED: [], KUBECTL: [], ANSWER: [], OWN: []}
    with both() as (bare, stack, web):
        for number in range(options.pairs + 2):
            asked, told = _bare(bare, size), _kubectl(bare, size)
            answered, output = submitted(web.port, stack.token, {"command": list(COMMAND), **size.fields()})
            # The first few warm all sides up.
            if number >= 2:
                for name, took in zip(sides, (asked, told, answered, output), strict=True):
                    sides[name].append(took)
            bare.clear()
            time.sleep(PAUSE_S)
    _show(sides)


def _bare(bare: BarePods, size: Size) -> float:
    began = time.monotonic()
    bare.first_byte(bare.create(COMMAND, size))
    return time.monotonic() - began


def _kubectl(bare: BarePods, size: Size) -> float:
    began = time.monotonic()
    name = bare.create(COMMAND, size)
    while time.monotonic() < began + WITHIN_S:
        with kubectl("-n", bare.namespace, "logs", "-f", name) as process:
            # It refuses until the container is there.
            if process.stdout is not None and process.stdout.read(1):
                return time.monotonic() - began
    raise SystemExit(f"pod {name} wrote nothing")


def _show(sides: dict[str, list[float]]) -> None:
    bare, own = sides[ASKED], sides[OWN]
    more = [ours - first for ours, first in zip(own, bare, strict=True)]
    print(f"\n{len(own)} pods that print one word, one at a time; milliseconds")
    rows = [
        [title, *(short(percentile(times, percent) * 1000) for percent in (0, 50, 99))]
        for title, times in {**sides, "Podwire less the first bare pod beside it": more}.items()
    ]
    table(["", "min", "p50", "p99"], rows)
    for title in (ASKED, KUBECTL):
        ratios = [ours / other for ours, other in zip(own, sides[title], strict=True)]
        print(f"  Podwire ÷ {title}: median of the ratios {short(median(ratios))}")
