"""What a worker tells observers of the broker, such as Flower."""

from __future__ import annotations

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher


class Dispatcher(EventDispatcher):  # type: ignore[misc]
    """Sends events in groups, and none is lost that another thread adds while a group is on its way.

    Celery's own clears a group once it is sent. A thread that starts a task adds to it at that very moment, just after the main
    thread has received the message, and observers never heard that the task had started.
    """

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what has gathered."""
        super().flush(errors=errors, groups=False)
        if not groups:
            return
        with self.mutex:
            for group, gathered in list(self._group_buffer.items()):
                if events := gathered[:]:
                    self._publish(events, self.producer, f"{group}.multi")
                    del gathered[: len(events)]


class WorkerEvents(Events):  # type: ignore[misc]
    """Celery's shortcuts to events, with the dispatcher of this module."""

    dispatcher_cls = Dispatcher
