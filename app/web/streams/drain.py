"""How this web process leaves: not ready, no new streams, the open ones dismissed one after the other."""

from __future__ import annotations

import _thread
import time

from app.domain.errors import Draining
from app.web.streams.registry import Slot, StreamRegistry


class Drain:
    """Whether this process is leaving. `begin` may be called from a signal handler, and again."""

    def __init__(self, registry: StreamRegistry, window_s: float) -> None:
        """Streams are ended over `window_s` seconds from `begin` on."""
        self.registry = registry
        self._window_s = window_s
        self._begun = False

    @property
    def begun(self) -> bool:
        """True once the process is leaving."""
        return self._begun

    @property
    def open_streams(self) -> int:
        """The streams that are still open."""
        return self.registry.count

    def begin(self) -> None:
        """Start to leave. Idempotent; never blocks."""
        if not self._begun:
            self._begun = True
            # Unlike a Thread, this does not wait for its start: a signal handler must not wait.
            _thread.start_new_thread(self.registry.close_all, (self._window_s,))

    def finish(self, timeout_s: float) -> None:
        """Begin, if that was not done, and wait until the streams are closed. For the end of the process."""
        self.begin()
        deadline = time.monotonic() + timeout_s
        while self.open_streams and time.monotonic() < deadline:
            time.sleep(0.05)

    def admit(self, owner_id: str) -> Slot:
        """Admit one more stream of the user. Raises: Draining, TooManySockets."""
        if self._begun:
            raise Draining(retry_after_s=1)
        return self.registry.acquire(owner_id)
