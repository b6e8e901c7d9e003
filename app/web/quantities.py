"""Amounts as people write them: `512Mi`, `500m`, `10m`. Pure text to number; ranges are checked in the domain."""

from __future__ import annotations

import re

from app.domain.bounded_json import is_finite

_BYTES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d{1,18}(?:\.\d{1,9})?"
_SIZE = re.compile(rf"({_NUMBER})([kMGT]i?|Ki)?\Z", re.ASCII)
_CPU = re.compile(rf"({_NUMBER})(m?)\Z", re.ASCII)
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d))+\Z", re.ASCII)
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)", re.ASCII)


def size_bytes(value: object) -> int:
    """Return bytes from a whole number or a text such as `512Mi` or `2G`. Raises: ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.match(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("must be a number of bytes or a size such as 512Mi")
    number, unit = found.groups()
    return round(float(number) * _BYTES[unit or ""]) if "." in number else int(number) * _BYTES[unit or ""]


def cores(value: object) -> float:
    """Return CPU cores from a number or a text such as `500m`. Raises: ValueError."""
    found = _CPU.match(value) if isinstance(value, str) else None
    if found:
        return float(found[1]) / (1000 if found[2] else 1)
    return _number(value, "must be a number of cores or a text such as 500m")


def duration_s(value: object) -> float:
    """Return seconds from a number or a text such as `90s`, `10m` or `1h30m`. Raises: ValueError."""
    if isinstance(value, str) and _DURATION.match(value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
    return _number(value, "must be a number of seconds or a duration such as 10m")


def _number(value: object, fault: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise ValueError(fault)
    return float(value)
