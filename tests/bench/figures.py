"""Numbers for people: percentiles, medians over rounds, tables. No measurement."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib import metadata

NAN = float("nan")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` % of the values do not exceed; NaN for none."""
    if not values:
        return NAN
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Iterable[float]) -> float:
    """Return the median; NaN for none."""
    found = list(values)
    return statistics.median(found) if found else NAN


def spread(values: Iterable[float], unit: str = "") -> str:
    """Return the median, and the lowest and the highest behind it."""
    found = sorted(values)
    if not found:
        return "-"
    if len(found) == 1:
        return short(found[0], unit)
    return f"{short(median(found), unit)} ({short(found[0])}…{short(found[-1])})"


def short(value: float, unit: str = "") -> str:
    """Return a number with the digits that matter."""
    if value != value:
        return "-"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is text."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def machine(packages: Sequence[str]) -> str:
    """Return on what this was measured."""
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}, {versions}; load average before: {load:.1f}"
