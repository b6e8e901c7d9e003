"""Clients of a service that is being upgraded: every request and every stream is counted, with what the Service answered.

What the runs do, and the judgement on each, is the kill test's (tests/kill/subjects.py).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from tests.integration.client import Answer, Client
from tests.kill.subjects import Subject, Tally

REFUSED, BROKEN, ERRORS = "refused connections", "requests without an answer", "answers 5xx"
FAULTS = (REFUSED, BROKEN, ERRORS)


class CountingClient(Client):
    """A client that repeats nothing by itself and counts what went wrong. Each request is a connection of its own."""

    def __init__(self, url: str, token: str, tally: Tally) -> None:
        """Use the service at the address."""
        super().__init__([url], token)
        self._tally = tally

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> Answer:
        """Send a request and count it. Raises: OSError, http.client.HTTPException."""
        self._tally.add("requests")
        try:
            answer = super().request(method, path, body, headers, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            kind = REFUSED if isinstance(error, ConnectionRefusedError) else BROKEN
            self._tally.complain(kind, f"{_moment()} {method} {path}: {error!r}")
            raise
        if answer.status >= 500:
            self._tally.complain(
                ERRORS, f"{_moment()} {method} {path}: {answer.status} {answer.body[:200].decode(errors='replace')}"
            )
        return answer


class Probe(threading.Thread):
    """Somebody who asks all the time, over a new connection each time: whom am I, and which runs have I?"""

    def __init__(self, client: Client, every_s: float) -> None:
        """Ask until `stop` is set."""
        super().__init__(daemon=True, name="probe")
        self._client, self._every_s = client, every_s
        self.stop = threading.Event()

    def run(self) -> None:
        """Ask; the client counts."""
        paths = ("/v1/me", "/v1/runs?limit=1", "/readyz")
        turn = 0
        while not self.stop.wait(self._every_s):
            with suppress(OSError, http.client.HTTPException):
                self._client.get(paths[turn % len(paths)])
            turn += 1


def count_streams(subject: Subject, tally: Tally) -> None:
    """Count how the subject's watchers were received when they connected."""
    for watcher in subject.watchers:
        for error in watcher.unreached:
            kind = REFUSED if isinstance(error, ConnectionRefusedError) else BROKEN
            tally.complain(kind, f"{watcher.name} while connecting: {error!r}")
        for refused in watcher.refusals:
            tally.complain(ERRORS, f"{watcher.name} while connecting: {refused}")
        for code in watcher.closes:
            if code is not None and code != 1000:
                tally.add(f"streams closed with {code}")


def _moment() -> str:
    return time.strftime("%H:%M:%S", time.gmtime())
