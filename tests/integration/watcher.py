"""Clients that follow runs over WebSocket or Server-Sent Events, through drops and restarts, on whichever replica comes next.

How connections are made, kept and resumed is here; what the frames mean is in transcript.py.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import websocket

from tests.integration.client import Client
from tests.integration.transcript import Transcript
from tests.servers import wait_until

TIMEOUT_S = 40.0


class Refused(Exception):
    """The server declined the connection."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status, self.body = status, body


def open_socket(client: Client, run_id: str, position: str | None = "0-0", **options: Any) -> websocket.WebSocket:
    """Connect to the run's stream on the next replica. Raises: Refused, OSError."""
    query = f"?position={position}" if position is not None else ""
    url = client.next_url().replace("http://", "ws://") + f"/v1/runs/{run_id}/stream{query}"
    options.setdefault("timeout", TIMEOUT_S)
    options["header"] = [f"{name}: {value}" for name, value in client.authorization().items()]
    try:
        return websocket.create_connection(url, suppress_origin=True, **options)
    except websocket.WebSocketBadStatusException as error:
        raise Refused(error.status_code, error.resp_body or b"") from error


def read_frame(connection: websocket.WebSocket) -> tuple[str | None, int | None]:
    """Return the next text frame, or the code with which the server closed. Raises: OSError, WebSocketException."""
    while True:
        opcode, data = connection.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_TEXT:
            return bytes(data).decode(), None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return None, int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005


class Watcher(threading.Thread):
    """Follows one run to its end in a thread of its own, resuming after every loss. `join` or `finish` it."""

    def __init__(
        self,
        client: Client,
        run_id: str,
        kind: str = "ws",
        *,
        seed: int = 0,
        transcript: Transcript | None = None,
        read_pause_s: float = 0.0,
        drop_every_s: float | None = None,
    ) -> None:
        """`kind` is ws or sse. `read_pause_s` makes it slow, `drop_every_s` makes it leave and come back at random."""
        super().__init__(daemon=True, name=f"{kind}-{run_id}")
        self.client, self.run_id, self.kind = client, run_id, kind
        self.transcript = transcript or Transcript()
        self.closes: list[int | None] = []
        self.refusals: list[Refused] = []
        self.unreached: list[OSError] = []
        self.connects = 0
        self.error: BaseException | None = None
        self._random = random.Random(seed)
        self._pause_s, self._drop_every_s = read_pause_s, drop_every_s
        self._stop_asked = threading.Event()
        self._connection: websocket.WebSocket | http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Follow until the end, or until `stop`."""
        try:
            while not self._stop_asked.is_set() and not self.transcript.ended:
                try:
                    (self._follow_socket if self.kind == "ws" else self._follow_events)()
                except Refused as refused:
                    self.refusals.append(refused)
                    if refused.status not in (429, 502, 503):
                        raise
                except (OSError, websocket.WebSocketException, http.client.HTTPException, ValueError) as error:
                    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):
                        self.closes.append(None)
                if not self.transcript.ended:
                    self._stop_asked.wait(self._random.uniform(0.02, 0.3))
        except BaseException as error:
            self.error = error

    def _follow_socket(self) -> None:
        try:
            connection = open_socket(self.client, self.run_id, self.transcript.position, skip_utf8_validation=True)
        except OSError as error:
            self.unreached.append(error)
            raise
        self._connected(connection)
        leave_at = self._leave_at()
        try:
            while time.monotonic() < leave_at and not self._stop_asked.is_set():
                text, code = read_frame(connection)
                if text is None:
                    self.closes.append(code)
                    return
                self.transcript.frame(text)
                self._rest()
        finally:
            self._connection = None
            connection.shutdown()

    def _follow_events(self) -> None:
        address = urlsplit(self.client.next_url())
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT_S)
        resume = {"Last-Event-ID": self.transcript.position} if self.transcript.seq else {}
        try:
            response = self._asked(connection, {**self.client.authorization(), **resume})
            if response.status != 200:
                raise Refused(response.status, response.read())
            self._connected(connection)
            self._read_events(response, self._leave_at())
        finally:
            self._connection = None
            connection.close()

    def _asked(self, connection: http.client.HTTPConnection, headers: dict[str, str]) -> http.client.HTTPResponse:
        try:
            connection.request("GET", f"/v1/runs/{self.run_id}/events", headers=headers)
            return connection.getresponse()
        except OSError as error:
            self.unreached.append(error)
            raise

    def _read_events(self, response: http.client.HTTPResponse, leave_at: float) -> None:
        fields: dict[str, str] = {}
        while time.monotonic() < leave_at and not self._stop_asked.is_set():
            line = response.readline()
            if not line:
                self.closes.append(None)
                return
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            self._sse_message(fields)
            fields = {}
            self._rest()

    def _sse_message(self, fields: dict[str, str]) -> None:
        if "data" not in fields:
            return
        data = json.loads(fields["data"])
        kind = fields.get("event")
        if kind == "reset":
            self.transcript.reset(data["epoch"], data["seq"])
        elif kind in ("hello", "queue"):
            (self.transcript.hellos if kind == "hello" else self.transcript.waits).append(data)
        else:
            if fields.get("id") != f"{data['epoch']}-{data['seq']}" or kind != data["kind"]:
                self.transcript.faults.append(f"id {fields.get('id')} and event {kind} on {data['epoch']}-{data['seq']}")
            self.transcript.event(data)

    def _connected(self, connection: websocket.WebSocket | http.client.HTTPConnection) -> None:
        self._connection = connection
        self.connects += 1

    def _leave_at(self) -> float:
        return time.monotonic() + (self._random.uniform(0.1, 2 * self._drop_every_s) if self._drop_every_s else 1e9)

    def _rest(self) -> None:
        if self._pause_s:
            time.sleep(self._random.uniform(0, 2 * self._pause_s))

    # --- from other threads

    def send(self, frame: dict[str, object]) -> None:
        """Send a frame to the server."""
        if isinstance(self._connection, websocket.WebSocket):
            self._connection.send(json.dumps(frame))

    def drop(self) -> None:
        """Break the connection off, as a network does; the watcher comes back by itself."""
        connection = self._connection
        sock = getattr(connection, "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(2)

    def stop(self) -> None:
        """Leave for good."""
        self._stop_asked.set()
        self.drop()
        self.join(TIMEOUT_S)

    def wait_for(self, text: str | bytes, deadline_s: float = 60.0) -> None:
        """Wait until the output holds the text."""
        wanted = text.encode() if isinstance(text, str) else text
        wait_until(lambda: wanted in self.transcript.shown or self.error, f"{wanted!r} was shown", deadline_s)
        self._raise()

    def wait_event(self, kind: str, count: int = 1, deadline_s: float = 60.0) -> list[dict[str, Any]]:
        """Wait until there are so many events of the kind and return them."""
        wait_until(lambda: len(self.transcript.of_kind(kind)) >= count or self.error, f"{count} events {kind} came", deadline_s)
        self._raise()
        return self.transcript.of_kind(kind)

    def wait_connected(self, deadline_s: float = 60.0) -> None:
        """Wait until there is a connection."""
        wait_until(lambda: self._connection is not None or self.error, "the watcher was connected", deadline_s)
        self._raise()

    def finish(self, expected: bytes | None = None, deadline_s: float = 90.0) -> Transcript:
        """Wait for the end, check all that was told and return it."""
        self.join(deadline_s)
        self._raise()
        if self.is_alive():
            where = f"at {self.transcript.position}, closes {self.closes}, {self.refusals[-3:]}"
            raise AssertionError(f"{self.name} has not ended: {where}")
        self.transcript.check(expected)
        return self.transcript

    def _raise(self) -> None:
        if self.error is not None:
            raise AssertionError(f"{self.name} failed") from self.error


def watch(client: Client, run_id: str, kind: str = "ws", **options: Any) -> Watcher:
    """Return a watcher that has begun."""
    watcher = Watcher(client, run_id, kind, **options)
    watcher.start()
    return watcher
