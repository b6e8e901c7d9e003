"""When a queued run may be expected to start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.queue.forecast import Forecast, forecast, in_words

MINUTES = [60.0] * 8


def test_nothing_is_said_of_what_starts_at_once_or_without_experience() -> None:
    assert forecast(1, 4, 1, MINUTES) is None
    assert forecast(1, 4, 0, MINUTES[:4]) is None
    assert forecast(1, 0, 0, MINUTES) is None


def test_those_ahead_leave_their_places_at_a_steady_rate() -> None:
    assert forecast(1, 1, 0, MINUTES) == Forecast(0.0, 60.0)
    assert forecast(3, 1, 0, MINUTES) == Forecast(120.0, 180.0)
    assert forecast(9, 4, 0, MINUTES) == Forecast(120.0, 180.0)
    assert forecast(9, 4, 4, MINUTES) == Forecast(60.0, 120.0)


@given(st.integers(1, 500), st.integers(1, 50), st.lists(st.floats(0, 1e5), min_size=5, max_size=60))
def test_it_is_a_range_that_grows_with_the_place(position: int, places: int, durations: list[float]) -> None:
    here, behind = forecast(position, places, 0, durations), forecast(position + 1, places, 0, durations)
    assert here is not None and behind is not None
    assert 0 <= here.after_s <= here.within_s
    assert here.after_s <= behind.after_s and here.within_s <= behind.within_s


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (Forecast(0, 8), "in less than 10 s"),
        (Forecast(0, 130), "in less than 3 min"),
        (Forecast(21, 55), "in about 20 to 60 s"),
        (Forecast(125, 290), "in about 2 to 5 min"),
        (Forecast(50, 290), "in about 50 s to 5 min"),
        (Forecast(3000, 9000), "in about 50 min to 3 h"),
    ],
)
def test_it_is_said_as_people_say_it(expected: Forecast, words: str) -> None:
    assert in_words(expected) == words
