"""How people read durations and sizes, wherever they are shown. Pure text."""

from __future__ import annotations

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a duration with its two largest units: `2 h 5 min`, `12.3 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds % 1 and seconds < 10 else f"{seconds:.0f} s"
    left, parts = int(seconds), []
    for size, name in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {name}")
            left %= size
    if left:
        parts.append(f"{left} s")
    return " ".join(parts[:2])


def size(amount: float) -> str:
    """Return a number of bytes as `512 MiB`."""
    unit = 0
    while amount >= 1024 and unit < len(_SIZES) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_SIZES[unit]}" if unit == 0 or amount >= 100 or amount % 1 == 0 else f"{amount:.1f} {_SIZES[unit]}"
