"""Events of a worker whose threads start tasks while its main thread tells of those that it received."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Connection

from tasks.events import Dispatcher, WorkerEvents


class Wire:
    """Takes what is published, and lets something happen meanwhile, as a slow broker does."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.meanwhile: list[Any] = []

    def publish(self, events: list[dict[str, Any]], **_: Any) -> None:
        self.sent += [event["type"] for event in events]
        for act in self.meanwhile:
            act()
        self.meanwhile = []


def test_what_is_added_while_a_group_is_sent_is_sent_next() -> None:
    app = Celery(broker="memory://", set_as_current=False)
    made = Dispatcher(Connection("memory://"), app=app, enabled=False, buffer_group=["task"])
    wire = Wire()
    made.producer, made.enabled = wire, True
    wire.meanwhile.append(lambda: made.send("task-started"))
    made.send("task-received")
    made.flush()
    assert wire.sent == ["task-received"]
    made.flush()
    made.flush()
    assert wire.sent == ["task-received", "task-started"]


def test_an_application_sends_with_it() -> None:
    app = Celery(broker="memory://", set_as_current=False)
    app.events_cls = WorkerEvents
    assert issubclass(app.events.Dispatcher, Dispatcher)
