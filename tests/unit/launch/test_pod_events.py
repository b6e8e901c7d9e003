"""Which of a pod's events are news."""

from __future__ import annotations

from typing import Any

from app.launch.kubernetes.pods.pod_events import Notice, Turns, code_of, notices


def event(name: str, reason: str, message: str, at: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "reason": reason, "message": message, "firstTimestamp": at, **more}


def test_news_come_in_order_and_once() -> None:
    events = [
        event("3", "BackOff", "Back-off pulling image", "2026-01-01T00:00:09Z"),
        event("1", "Scheduled", "Successfully assigned", "", eventTime="2026-01-01T00:00:01.5Z"),
        event("2", "Pulling", "Pulling image", "2026-01-01T00:00:02Z"),
        event("3", "BackOff", "Back-off pulling image", "2026-01-01T00:00:11Z", count=2),
        event("4", "Pulled", 'Container image "x" already present on machine', "2026-01-01T00:00:03Z"),
        event("5", "Started", "Started container", "2026-01-01T00:00:04Z"),
        {"metadata": {}},
    ]
    assert notices(events) == [
        Notice("event-1", "scheduled", "Successfully assigned"),
        Notice("event-2", "pulling", "Pulling image"),
        Notice("event-3", "back_off", "Back-off pulling image"),
    ]


def test_codes_look_like_the_others() -> None:
    assert [code_of(reason) for reason in ("FailedScheduling", "ImagePullFailed", "BackOff")] == [
        "failed_scheduling",
        "image_pull_failed",
        "back_off",
    ]


def test_of_many_that_ask_at_once_one_may_and_later_another() -> None:
    turns = Turns(0.5)
    assert [turns.take(now) for now in (10.0, 10.0, 10.4, 10.5, 10.6, 11.0)] == [True, False, False, True, False, True]
