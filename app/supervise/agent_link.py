"""The connection to an attempt's agent: made when it is needed, given up when it is silent, and sparing with repetitions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from app.agent.records.wire_format import Kind as Wire
from app.domain.errors import AttemptGone, LinkLost
from app.domain.ports import Link, Record

logger = logging.getLogger(__name__)

SILENCE_S = 20.0


class AgentLink:
    """One attempt's link. One thread uses it; any may wake it."""

    def __init__(self, connect: Callable[[], Link], send_again_s: float) -> None:
        """`connect` opens a new link. Raises: AttemptGone, LauncherUnavailable, LinkLost. A link repeats a command only after
        `send_again_s`."""
        self._connect, self._send_again_s = connect, send_again_s
        self._link: Link | None = None
        self._sent_at: dict[str, float] = {}
        self._received_at = 0.0
        # What was read of this link and waits for something else to be done first.
        self._given_back: list[Record] = []

    @property
    def is_open(self) -> bool:
        """Whether there is a link."""
        return self._link is not None

    def open(self) -> Link:
        """Return the link, which is made if there is none. Raises: what `connect` does."""
        if self._link is None:
            self._link = self._connect()
            self._sent_at.clear()
            self._received_at = time.monotonic()
        return self._link

    def read(self, timeout_s: float) -> list[Record]:
        """Return the next records; none after the timeout, or where the agent was silent for so long that the link is dropped.

        Raises: AttemptGone, LauncherUnavailable, LinkLost; a link that is lost is dropped.
        """
        try:
            given, self._given_back = self._given_back, []
            records = given or self.open().read(timeout_s)
        except LinkLost:
            self.close()
            raise
        if records:
            self._received_at = time.monotonic()
        elif time.monotonic() > self._received_at + SILENCE_S:
            self.close()
        return records

    def give_back(self, records: list[Record]) -> None:
        """Have `read` return these next, unless the link is dropped: then they come from the new one."""
        self._given_back = records

    def send(self, kind: Wire, body: dict[str, object]) -> None:
        """Send a command unless this link carried it a moment ago; it is sent again until the agent acknowledges it."""
        key = str(body["id"])
        if self._link is None or time.monotonic() < self._sent_at.get(key, 0.0) + self._send_again_s:
            return
        try:
            self._link.send(kind, body)
            self._sent_at[key] = time.monotonic()
        except LinkLost:
            self.close()

    def finish(self, run_id: str, read_within_s: float) -> None:
        """Tell the agent that it is done with; where nobody removes it, see that it has read so."""
        until = time.monotonic() + read_within_s
        try:
            if self._link:
                self._link.send(Wire.FINISH, {"id": "finish"})
            # A link that is closed with unread records may take its last word back.
            while self._link and time.monotonic() < until:
                if any(record.kind == Wire.ACK and b'"finish"' in record.payload for record in self._link.read(read_within_s)):
                    return
        except (LinkLost, AttemptGone):
            logger.debug("run %s: agent left by itself", run_id)

    def wake(self) -> None:
        """End the wait of `read`."""
        if link := self._link:
            link.wake()

    def close(self) -> None:
        """Drop the link, if there is one."""
        link, self._link, self._given_back = self._link, None, []
        if link:
            link.close()
