"""Which failures are followed by another attempt, how long it waits, and what a spec may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.runs.reason import Reason
from app.domain.runs.retry import (
    BY_ITSELF,
    LONGEST_WAIT_S,
    MOST_ATTEMPTS,
    ON_REQUEST,
    Failure,
    Retries,
    Retry,
    check_retry,
    explain_again,
    tried_again,
    wait_s,
)
from app.domain.runs.spec import RunSpec

SITE = Retries(max_attempts=3, backoff_s=5.0)
WANTED = {
    Reason.COMPLETED,
    Reason.CANCELLED_BY_USER,
    Reason.CANCELLED_BY_ADMIN,
    Reason.QUEUE_TIMEOUT,
    Reason.INVALID_SPEC,
    Reason.INVALID_IMAGE,
    Reason.QUOTA_EXCEEDED,
    Reason.UNSCHEDULABLE,
    Reason.QUESTION_UNANSWERED,
    Reason.OUTPUT_LIMIT,
}


def test_by_itself_only_what_failed_before_the_code_began_is_tried_again() -> None:
    for reason in Reason:
        assert tried_again(SITE, None, 1, Failure(reason, began=False)) is (reason in BY_ITSELF)
        assert not tried_again(SITE, None, 1, Failure(reason, began=True)), reason
        assert not tried_again(SITE, None, 1, Failure(reason, began=False, hopeless=True)), reason


def test_a_spec_may_ask_for_more_but_never_for_an_end_that_somebody_wanted() -> None:
    assert set(Reason) - ON_REQUEST == WANTED
    for reason in Reason:
        wish = Retry(None, (reason.value,))
        assert tried_again(SITE, wish, 1, Failure(reason, began=True)) is (reason in ON_REQUEST)
        other = Retry(None, tuple(each.value for each in Reason if each is not reason))
        assert not tried_again(SITE, other, 1, Failure(reason, began=True))


@pytest.mark.trap("C8")
@given(st.integers(1, MOST_ATTEMPTS), st.sampled_from(sorted(ON_REQUEST)))
def test_attempts_are_counted_up_to_the_cap(most: int, reason: Reason) -> None:
    wish = Retry(most, (reason.value,))
    attempt = 1
    while tried_again(SITE, wish, attempt, Failure(reason, began=True)):
        attempt += 1
    assert attempt == most
    assert SITE.attempts(wish) == most and SITE.attempts(Retry()) == SITE.attempts(None) == 3


def test_one_attempt_is_a_way_to_say_never() -> None:
    assert not tried_again(SITE, Retry(1), 1, Failure(Reason.NODE_LOST, began=False))


@given(st.integers(1, MOST_ATTEMPTS), st.floats(0, 1), st.floats(0.01, 60))
def test_the_wait_doubles_within_a_quarter_and_has_an_end(attempt: int, jitter: float, base_s: float) -> None:
    waits = wait_s(Retries(backoff_s=base_s), attempt, jitter)
    middle = min(LONGEST_WAIT_S, base_s * 2 ** (attempt - 1))
    assert 0.75 * middle <= waits <= 1.25 * middle
    assert wait_s(Retries(backoff_s=base_s), attempt, 0) <= waits <= wait_s(Retries(backoff_s=base_s), attempt, 1)


def test_runs_that_failed_together_do_not_come_back_together() -> None:
    assert wait_s(SITE, 1, 0.1) != wait_s(SITE, 1, 0.9)


def test_what_is_wrong_with_a_wish_is_said_field_by_field() -> None:
    assert check_retry(None) == check_retry(Retry(10, ("OOMKilled", "NonZeroExit"))) == []
    wrong = check_retry(Retry(0, ("NodeLost", "Completed", "Nonsense")))
    assert [error.field for error in wrong] == ["retry.max_attempts", "retry.reasons[1]", "retry.reasons[2]"]
    assert "between 1 and 10" in wrong[0].message and "NonZeroExit" in wrong[1].message
    assert [error.field for error in check_retry(Retry(11))] == ["retry.max_attempts"]


def test_a_spec_is_stored_with_its_wish_and_as_before_without() -> None:
    plain, wishing = RunSpec(command=("true",)), RunSpec(command=("true",), retry=Retry(4, ("OOMKilled",)))
    assert "retry" not in plain.to_json()
    assert RunSpec.from_json(plain.to_json()) == plain
    assert RunSpec.from_json(wishing.to_json()) == wishing
    assert RunSpec.from_json({**plain.to_json(), "retry": {"max_attempts": None, "reasons": ["Signalled"]}}).retry == Retry(
        None, ("Signalled",)
    )


def test_the_wait_is_explained() -> None:
    assert explain_again(2, 3, 7.6, Reason.NODE_LOST) == "attempt 2 of 3 in about 8 s: NodeLost"
    assert explain_again(2, 3, -1, Reason.NODE_LOST) == "attempt 2 of 3 in about 1 s: NodeLost"
