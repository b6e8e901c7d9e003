"""Amounts as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from app.web.quantities import cores, duration_s, size_bytes


@pytest.mark.parametrize(
    ("read", "given", "amount"),
    [
        (size_bytes, "512Mi", 512 * 2**20),
        (size_bytes, "1.5Gi", 1610612736),
        (size_bytes, "2k", 2000),
        (size_bytes, 7, 7),
        (cores, "500m", 0.5),
        (cores, "2", 2.0),
        (cores, 0.25, 0.25),
        (duration_s, "1h30m", 5400.0),
        (duration_s, "250ms", 0.25),
        (duration_s, 90, 90.0),
    ],
)
def test_amounts(read: Any, given: object, amount: float) -> None:
    assert read(given) == amount


@pytest.mark.parametrize("read", [size_bytes, cores, duration_s])
@pytest.mark.parametrize("given", [None, True, [], "", "x", "-1", "1 Mi", "1MM", "\u0661", 1e999, -1e999, "1" * 40, "5m\n"])
def test_what_is_no_amount(read: Any, given: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        read(given)
