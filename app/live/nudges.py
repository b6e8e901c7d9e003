"""Wake-ups between processes over Redis pub/sub. A nudge never carries truth: receivers read SQL again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import redis

from app.live.names import NUDGE_CHANNEL
from app.live.subscription import Subscription

logger = logging.getLogger(__name__)


class RedisNudges:
    """ports.Nudges over Redis. `lost` counts the nudges that could not be sent."""

    def __init__(self, client: redis.Redis, *, probe_s: float = 5.0) -> None:
        """Use the client (see app.live.connect); `probe_s` is how soon a listener doubts a silent connection."""
        self._client = client
        self._probe_s = probe_s
        self.lost = 0

    def send(self, run_id: str, what: str) -> None:
        """Tell every process; a nudge that cannot be sent is counted and forgotten."""
        try:
            self._client.publish(NUDGE_CHANNEL, json.dumps({"run": run_id, "what": what}))
        except (redis.RedisError, OSError) as error:
            self.lost += 1
            logger.warning("run %s: nudge %s was not sent: %s", run_id, what, error)

    def listen(self, on_nudge: Callable[[str, str], None], stop: Callable[[], bool]) -> None:
        """Call `on_nudge` for each nudge until `stop()`, through every loss of Redis."""
        subscription = Subscription(
            self._client,
            lambda _, data: _deliver(data, on_nudge),
            lambda _: _call(on_nudge, "*", "resync"),
            probe_s=self._probe_s,
        )
        subscription.want(NUDGE_CHANNEL)
        subscription.run(stop)


def _deliver(data: bytes, on_nudge: Callable[[str, str], None]) -> None:
    try:
        nudge = json.loads(data)
        run_id, what = str(nudge["run"]), str(nudge["what"])
    except (ValueError, TypeError, KeyError):
        logger.warning("not a nudge: %r", data[:100])
        return
    _call(on_nudge, run_id, what)


def _call(on_nudge: Callable[[str, str], None], run_id: str, what: str) -> None:
    try:
        on_nudge(run_id, what)
    except Exception:
        # The receiver's error must not cost the others their nudges.
        logger.exception("run %s: nudge %s failed", run_id, what)
