"""Requests to a Podwire service over HTTP, with its errors as exceptions: what is asked for, and what is tried again.

How one travels is in transport.py, which the first one loads, so that the command starts quickly. Streams are in stream.py.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from app.cli.client.backoff import retry_delay_s
from app.cli.client.refusal import json_object
from app.cli.client.target import Target
from app.cli.errors import NobodyThere, Refused, Stop, Unreachable
from app.domain.ids import is_run_id

if TYPE_CHECKING:
    from http.client import HTTPResponse

TRIES = 5
CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Api:
    """The service's API for one target. Every method raises Refused (with the service's reason) and Unreachable."""

    target: Target

    def get(self, path: str, **query: object) -> dict[str, object]:
        """Return the JSON resource."""
        return self._json("GET", with_query(path, query))

    def send(
        self, method: str, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """Send JSON and return the JSON answer. Repeated after a failure on the way: only for requests that may arrive twice."""
        return self._json(method, path, json.dumps(body).encode(), headers or {})

    def delete(self, path: str) -> dict[str, object]:
        """Delete and return what is left; deleting twice changes nothing."""
        return self._json("DELETE", path)

    def submit(self, body: Mapping[str, object]) -> dict[str, object]:
        """Submit a run, once, however often the request has to be sent, and return it."""
        return self.send("POST", "/v1/runs", body, {"Idempotency-Key": uuid.uuid4().hex})

    def run(self, run_id: str) -> dict[str, object]:
        """Return the run."""
        return self.get(run_path(run_id))

    def cancel(self, run_id: str) -> dict[str, object]:
        """Ask for the run's end; asking twice changes nothing."""
        return self.send("POST", f"{run_path(run_id)}/cancel", {})

    def answer(self, question_id: str, value: object) -> dict[str, object]:
        """Answer a question; the same answer twice is fine."""
        return self.send("POST", f"/v1/questions/{quote(question_id, safe='')}/answer", {"value": value})

    def raw(self, path: str) -> Iterator[bytes]:
        """Yield the body of a resource, piece by piece."""
        with self._open("GET", path, None, {}) as response:
            while piece := response.read(CHUNK):
                yield piece

    def text(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a page, whatever the status is. Raises only Unreachable."""
        try:
            with self._open("GET", path, None, {}) as response:
                return response.status, response.read().decode(errors="replace")
        except Refused as error:
            return error.http_status, error.detail

    def _json(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        for failures in range(TRIES):
            try:
                with self._open(method, path, body, headers or {}) as response:
                    return json_object(response.read())
            except Unreachable as error:
                if failures == TRIES - 1 or isinstance(error, NobodyThere):
                    raise
            except Refused as error:
                if not error.worth_repeating or failures == TRIES - 1:
                    raise
            time.sleep(retry_delay_s(failures))
        raise Unreachable()

    def _open(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AbstractContextManager[HTTPResponse]:
        from app.cli.client.transport import opened

        return opened(self.target, method, path, body, headers)


def run_path(run_id: str) -> str:
    """Return the run's address. Raises: Stop for what cannot be a run's id."""
    if not is_run_id(run_id):
        raise Stop(f"{run_id!r} is not the id of a run; podwire list shows them.")
    return f"/v1/runs/{run_id}"


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Return the path with the query's parts that are not None."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def rows(page: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    """Return the list that a page holds."""
    listed = page.get("items")
    return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []


def as_row(value: object) -> Mapping[str, object]:
    """Return a part of an answer that should be an object; an empty one when it is none."""
    return value if isinstance(value, dict) else {}
