"""Tests that share what is costly stay together, and what takes longest begins first."""

from __future__ import annotations

import pytest

from tests.conftest import COSTLY, LONG_FIRST, group_of, rank, stays


def test_a_test_with_a_fixture_of_its_module_stays_with_the_others() -> None:
    assert stays({"tmp_path": "function", "server": "module"})
    assert not stays({"tmp_path": "function", "podwire": "session"})
    assert all(stays({name: "session"}) for name in COSTLY)


@pytest.mark.xdist_group("chosen")
def test_a_mark_of_its_own_goes_first(request: pytest.FixtureRequest) -> None:
    assert group_of(request.node) is None


def test_long_ones_come_first() -> None:
    names = ["test_a", LONG_FIRST[1], "test_b", LONG_FIRST[0]]
    assert sorted(names, key=lambda name: rank(name, LONG_FIRST)) == [LONG_FIRST[0], LONG_FIRST[1], "test_a", "test_b"]
