"""Tests that share what is costly stay together, and what takes longest begins first."""

from __future__ import annotations

import pytest

from tests.conftest import LONG_FIRST, group_of, rank


@pytest.fixture(scope="module")
def costly() -> int:
    return 1


def test_a_test_with_a_fixture_of_its_module_stays_with_the_others(request: pytest.FixtureRequest, costly: int) -> None:
    assert group_of(request.node) == "test_spread"


def test_a_test_without_is_free(request: pytest.FixtureRequest) -> None:
    assert group_of(request.node) is None


@pytest.mark.xdist_group("chosen")
def test_a_mark_of_its_own_goes_first(request: pytest.FixtureRequest, costly: int) -> None:
    assert group_of(request.node) is None


def test_long_ones_come_first() -> None:
    names = ["test_a", LONG_FIRST[1], "test_b", LONG_FIRST[0]]
    assert sorted(names, key=lambda name: rank(name, LONG_FIRST)) == [LONG_FIRST[0], LONG_FIRST[1], "test_a", "test_b"]
