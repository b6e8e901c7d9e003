"""HTTP as a client of several replicas sees it: every request goes to the next replica, so that nothing can depend on affinity.

Standard library only; it knows paths and status codes of the API but none of the product's code.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from app.domain.person import Person

FINAL = {"succeeded", "failed", "cancelled", "timed_out", "expired"}
Json = dict[str, object]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        decoded = json.loads(self.body)
        if not isinstance(decoded, dict):
            raise AssertionError(f"not an object: {self.body[:200]!r}")
        return decoded

    def must(self, *statuses: int) -> Answer:
        """Return this when it has one of the statuses; fail the test with the body otherwise."""
        if self.status not in statuses:
            pytest.fail(f"expected {statuses}, got {self.status}: {self.body[:2000].decode(errors='replace')}")
        return self

    def refused(self, status: int, code: str) -> dict[str, object]:
        """Return the problem document when the request was refused with exactly this status and code."""
        problem = self.must(status).json
        if problem.get("code") != code or self.headers.get("content-type", "").split(";")[0] != "application/problem+json":
            pytest.fail(f"expected a problem {code}, got {self.headers.get('content-type')}: {problem}")
        return problem


class Client:
    """Requests of one person over several replicas in turn. Thread-safe."""

    def __init__(self, urls: Sequence[str], token: str | None = None, person: Person | None = None) -> None:
        """Use the replicas at these addresses."""
        self.urls, self.token, self._person = list(urls), token, person
        self._turn = itertools.count()
        self._lock = threading.Lock()

    @property
    def person(self) -> Person:
        """Who this client acts for."""
        if self._person is None:
            raise AssertionError("a client of nobody")
        return self._person

    def at(self, *replicas: int) -> Client:
        """Return a client of the same person that uses only these replicas."""
        return Client([self.urls[replica] for replica in replicas], self.token, self._person)

    def next_url(self) -> str:
        """Return the address of the replica whose turn it is."""
        with self._lock:
            return self.urls[next(self._turn) % len(self.urls)]

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> Answer:
        """Send a request to the next replica. Raises: OSError, http.client.HTTPException."""
        address = urlsplit(self.next_url())
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {**self.authorization(), **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def authorization(self) -> dict[str, str]:
        """Return the headers that prove who asks."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET."""
        return self.request("GET", path, None, headers)

    def send(self, method: str, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Send JSON."""
        return self.request(method, path, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """POST JSON."""
        return self.send("POST", path, body, headers)

    # --- runs

    def submit(self, script: str, language: str = "bash", *, key: str | None = None, **fields: object) -> str:
        """Submit a script and return the run's id."""
        body = {"script": script, "language": language, **fields}
        answer = self.post("/v1/runs", body, {"Idempotency-Key": key} if key else None).must(200, 201, 202)
        return str(answer.json["id"])

    def run(self, run_id: str) -> dict[str, object]:
        """Return the run's resource."""
        return self.get(f"/v1/runs/{run_id}").must(200).json

    def status(self, run_id: str) -> str:
        """Return the run's status."""
        return str(self.run(run_id)["status"])

    def wait_status(self, run_id: str, *wanted: str, deadline_s: float = 60.0) -> dict[str, object]:
        """Wait until the run has one of the statuses (a final one that is not wanted fails at once) and return it."""
        end = time.monotonic() + deadline_s
        while True:
            run = self.run(run_id)
            if run["status"] in wanted:
                return run
            if time.monotonic() > end or run["status"] in FINAL:
                pytest.fail(f"run {run_id} did not become {wanted} but is {run}")
            time.sleep(0.05)

    def wait_end(self, run_id: str, deadline_s: float = 90.0) -> dict[str, object]:
        """Wait for the run's end and return it."""
        return self.wait_status(run_id, *FINAL, deadline_s=deadline_s)

    def output(self, run_id: str) -> bytes:
        """Return the recorded output."""
        return self.get(f"/v1/runs/{run_id}/output").must(200).body

    def cancel(self, run_id: str) -> Answer:
        """Ask for the run's end."""
        return self.post(f"/v1/runs/{run_id}/cancel", {})

    # --- questions

    def questions(self, run_id: str) -> list[dict[str, object]]:
        """Return the run's questions."""
        listed = self.get(f"/v1/runs/{run_id}/questions").must(200).json
        return list(listed["questions"] if "questions" in listed else listed["items"])  # type: ignore[call-overload]

    def wait_question(self, run_id: str, count: int = 1, deadline_s: float = 60.0) -> list[dict[str, object]]:
        """Wait until the run has this many open questions and return them."""
        end = time.monotonic() + deadline_s
        while len(found := [q for q in self.questions(run_id) if q["state"] == "open"]) < count:
            if time.monotonic() > end:
                pytest.fail(f"run {run_id} did not ask {count} questions: {self.run(run_id)}, {self.questions(run_id)}")
            time.sleep(0.05)
        return found

    def answer(self, question_id: object, value: object, **fields: object) -> Answer:
        """Answer a question."""
        return self.post(f"/v1/questions/{question_id}/answer", {"value": value, **fields})
