"""Kombu's Redis transport, made to survive what it cannot read.

In kombu, an element of the queue that is no message ends the worker's consumer for good. Here it is logged and thrown away: what
a run needs is in SQL, and whatever was meant by it is handed out again.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError

logger = logging.getLogger(__name__)

SHOWN = 200


class Channel(redis.Channel):
    """Reads the queue; an element that is not JSON is thrown away."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except json.JSONDecodeError as error:
            # The element is gone from the queue, and the answer of Redis was read to its end.
            logger.error("thrown away from the queue: not JSON: %r", error.doc[:SHOWN])
            return True


class Transport(redis.Transport):
    """Delivers messages; one that nobody can make anything of is thrown away."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except (ConnectionLost, TimeoutError, OSError):
            raise
        except Exception as error:
            # Whatever is in the queue, those behind it must be read. Kombu takes some of these, such as a KeyError, for a lost
            # connection: it would connect again, put the message back and fail over the same one for ever.
            logger.error("thrown away from the queue: %r: %s", error, repr(message)[:SHOWN])
            self._forget(message)

    def _forget(self, message: Any) -> None:
        """Take the message off the list of those that wait for an acknowledgement, so that it does not hold a slot."""
        properties = message.get("properties") if isinstance(message, dict) else None
        tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
        for channel in self.channels:
            if tag is not None and tag in channel.qos._delivered:
                channel.basic_reject(tag, requeue=False)


def register() -> None:
    """Have kombu use this transport for redis:// and rediss://. Idempotent."""
    TRANSPORT_ALIASES.update(redis=f"{__name__}:Transport", rediss=f"{__name__}:Transport")
