"""When a queued run may be expected to start, judged by how long runs took lately. A range or nothing, never a promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles

# From fewer runs nothing can be said.
ENOUGH = 5
_UNITS = ((3600, "h"), (60, "min"), (10, "s"))


@dataclass(frozen=True, slots=True)
class Forecast:
    """It starts between `after_s` and `within_s` seconds from now, as things look."""

    after_s: float
    within_s: float


def forecast(position: int, places: int, free: int, durations: Sequence[float]) -> Forecast | None:
    """Say when the run at the 1-based position starts; None when that is unknown, or it is about to.

    `places` runs are active at once, `free` of these places are not taken, `durations` are how long runs lately kept theirs, in
    seconds. Those ahead leave their places at a steady rate; the quarter that was quickest and the one that was slowest are left
    out.
    """
    if len(durations) < ENOUGH or places < 1 or position <= free:
        return None
    quick, _, slow = quantiles(durations, n=4)
    ahead = position - free
    return Forecast((ahead - 1) / places * quick, (ahead + places - 1) / places * slow)


def in_words(expected: Forecast) -> str:
    """Return the range as people say it, coarse enough to stay true for a while: `in about 2 to 5 min`."""
    low, high = _coarse(expected.after_s, math.floor), _coarse(expected.within_s, math.ceil)
    if low[0] == 0:
        return f"in less than {high[0]} {high[1]}"
    unit = "" if low[1] == high[1] else f" {low[1]}"
    return f"in about {low[0]}{unit} to {high[0]} {high[1]}"


def _coarse(seconds: float, rounded: Callable[[float], int]) -> tuple[int, str]:
    unit, name = next(((unit, name) for unit, name in _UNITS if seconds >= unit), _UNITS[-1])
    count = rounded(seconds / unit)
    return (count * 10, name) if name == "s" else (count, name)
