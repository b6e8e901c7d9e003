"""What a worker says of the messages that it works on, to whoever asks it over the broker."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class Shown(Request):  # type: ignore[misc]
    """A message that shows, in place of its arguments, what was published to be shown of them: the same everywhere in Flower."""

    def info(self, safe: bool = False) -> Any:
        """Return the facts of the message."""
        return super().info(safe=True)
