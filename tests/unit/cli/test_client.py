"""The HTTP client and the stream against a small server in this process that fails in every way a real one can."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from app.cli.client import http, stream
from app.cli.client.follow import Follower, Item, Told
from app.cli.client.http import Api
from app.cli.client.target import Target
from app.cli.errors import NobodyThere, Refused, Unreachable

RUN = "r" + "a" * 19
Answer = Callable[["Fake"], None]


class Fake(BaseHTTPRequestHandler):
    """Answers each request with the next step of the test's script; the last one stays."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[list[Answer]] = []
    seen: ClassVar[list[tuple[str, str, dict[str, str]]]] = []

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.seen.append((self.command, self.path, dict(self.headers)))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        step(self)

    do_GET = do_POST = answer

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "retry_delay_s", lambda failures: 0.0)
    monkeypatch.setattr(stream, "retry_delay_s", lambda failures: 0.0)


@pytest.fixture
def target() -> Iterator[Target]:
    Fake.script, Fake.seen = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Target(f"http://127.0.0.1:{server.server_port}", "pw_secret")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def replies(status: int, body: bytes, kind: str = "application/json") -> Answer:
    def step(fake: Fake) -> None:
        fake.send_response(status)
        fake.send_header("Content-Type", kind)
        fake.send_header("Content-Length", str(len(body)))
        fake.end_headers()
        fake.wfile.write(body)

    return step


def hangs_up(fake: Fake) -> None:
    """Close the connection without an answer."""
    fake.close_connection = True
    fake.connection.shutdown(socket.SHUT_RDWR)


def test_sends_the_token_and_reads_the_resource(target: Target) -> None:
    Fake.script = [replies(200, b'{"id": "x"}')]
    assert Api(target).get("/v1/runs", limit=2, status=["queued", "running"], label=None) == {"id": "x"}
    method, path, headers = Fake.seen[0]
    assert (method, path) == ("GET", "/v1/runs?limit=2&status=queued&status=running")
    assert headers["Authorization"] == "Bearer pw_secret"


def test_a_problem_document_becomes_its_sentence(target: Target) -> None:
    problem = {"title": "t", "status": 429, "detail": "Too many.", "code": "limit_reached", "limit": 3, "retry_after_s": 9}
    Fake.script = [replies(429, json.dumps(problem).encode(), "application/problem+json")]
    with pytest.raises(Refused) as caught:
        Api(target).submit({})
    assert (caught.value.detail, caught.value.name, caught.value.extensions["retry_after_s"]) == ("Too many.", "limit_reached", 9)
    assert len(Fake.seen) == 1


@pytest.mark.parametrize(("status", "body"), [(500, b"<html>"), (404, b"[1]"), (401, b"")])
def test_any_other_failure_is_a_sentence_too(target: Target, status: int, body: bytes) -> None:
    Fake.script = [replies(status, body)]
    with pytest.raises(Refused, match=str(status)) as caught:
        Api(target).get("/v1/me")
    assert ("podwire login" in caught.value.detail) == (status == 401)


@pytest.mark.trap("C14")
def test_a_submission_that_has_to_be_repeated_carries_the_same_key(target: Target) -> None:
    Fake.script = [hangs_up, replies(503, b"{}"), replies(201, b'{"id": "x"}')]
    assert Api(target).submit({"script": "x"}) == {"id": "x"}
    assert len({headers["Idempotency-Key"] for _, _, headers in Fake.seen}) == 1
    assert len(Fake.seen) == 3


def test_gives_up_after_a_while(target: Target) -> None:
    Fake.script = [hangs_up]
    with pytest.raises(Unreachable):
        Api(target).get("/v1/me")
    assert len(Fake.seen) == http.TRIES


def test_follows_no_redirect(target: Target) -> None:
    def elsewhere(fake: Fake) -> None:
        fake.send_response(302)
        fake.send_header("Location", "/elsewhere")
        fake.send_header("Content-Length", "0")
        fake.end_headers()

    Fake.script = [elsewhere]
    with pytest.raises(Refused, match="302"):
        Api(target).get("/v1/me")
    assert len(Fake.seen) == 1


def test_nobody_there_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NobodyThere, match="podwire up"):
            Api(Target(f"http://127.0.0.1:{unused.getsockname()[1]}", "t")).get("/v1/me")


class Quiet:
    """A side without a terminal, which keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def fds(self) -> list[int]:
        return []

    def ready(self, fd: int) -> None:
        """Nothing to read."""

    def say(self, message: str) -> None:
        self.said.append(message)


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """Return a server's frame (RFC 6455, section 5.2)."""
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack("!H", len(payload))
    return bytes([0x80 | opcode]) + size + payload


def streams(*frames: bytes) -> Answer:
    """Accept the WebSocket, send the frames, and hang up."""

    def step(fake: Fake) -> None:
        key = fake.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        fake.send_response(101)
        fake.send_header("Upgrade", "websocket")
        fake.send_header("Connection", "Upgrade")
        fake.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        fake.end_headers()
        fake.wfile.write(b"".join(frames))
        fake.close_connection = True

    return step


def events(*listed: dict[str, object]) -> bytes:
    return frame(json.dumps({"type": "events", "events": [{"epoch": 1, "time": 0.0, **e} for e in listed]}).encode())


def output(seq: int, offset: int, text: str) -> dict[str, object]:
    return {"seq": seq, "kind": "output", "stream": "stdout", "offset": offset, "text": text}


END: dict[str, object] = {"kind": "end", "status": "succeeded"}


def watched(target: Target, side: Quiet | None = None) -> tuple[bytes, dict[str, Any]]:
    items: list[Item] = []
    end = stream.watch(target, RUN, Follower(), items.append, side or Quiet())
    return b"".join(item.data for item in items if isinstance(item, Told)), end


@pytest.mark.trap("S3")
@pytest.mark.trap("S13")
def test_resumes_where_it_was_after_every_kind_of_loss(target: Target) -> None:
    Fake.script = [
        streams(events(output(1, 0, "a")), frame(struct.pack("!H", 1012) + b"draining", 8)),
        hangs_up,
        replies(503, b"{}"),
        replies(429, b"{}"),
        streams(frame(b"", 9), events(output(1, 0, "a"), output(2, 1, "b"))),
        streams(events(output(3, 2, "c"), output(5, 9, "lost")), events(output(4, 3, "d"))),
        streams(frame(b"\xff{", 1)),
        streams(frame(b'{"type":"reset","epoch":2,"seq":1}'), events({**output(2, 1, "bcd"), "epoch": 2})),
        streams(events({**END, "seq": 3, "epoch": 2})),
    ]
    assert watched(target) == (b"abcd", {**END, "seq": 3, "epoch": 2, "time": 0.0})
    positions = [path.rpartition("=")[2] for _, path, _ in Fake.seen]
    assert positions == ["0-0", "1-1", "1-1", "1-1", "1-1", "1-2", "1-2", "1-2", "2-2"]


def test_no_proxy_is_asked_for_this_machine(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Fake.script = [replies(200, b"{}"), streams(events({**END, "seq": 1}))]
    Api(target).get("/v1/me")
    assert watched(target)[1]["status"] == "succeeded"


@pytest.mark.parametrize("step", [replies(404, b"{}"), replies(401, b"{}"), streams(frame(struct.pack("!H", 4404), 8))])
def test_leaves_when_there_is_no_way_on(target: Target, step: Answer) -> None:
    Fake.script = [step]
    with pytest.raises(Refused):
        watched(target)
    assert len(Fake.seen) == 1


def test_a_connection_that_says_nothing_is_given_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def silent(fake: Fake) -> None:
        streams(events(output(1, 0, "a")))(fake)
        fake.wfile.flush()
        released.wait(10)

    Fake.script = [silent, streams(events({**END, "seq": 2}))]
    monkeypatch.setattr(stream, "SILENCE_S", 0.1)
    try:
        assert watched(target)[0] == b"a"
    finally:
        released.set()


def test_what_happens_beside_the_stream_is_seen(target: Target) -> None:
    with pipe() as (readable, writable):

        class Typed(Quiet):
            def fds(self) -> list[int]:
                return [readable]

            def ready(self, fd: int) -> None:
                self.said.append(os.read(fd, 10).decode())
                typed.set()

        typed = threading.Event()

        def waits(fake: Fake) -> None:
            streams()(fake)
            fake.wfile.flush()
            os.write(writable, b"hello")
            typed.wait(10)
            fake.wfile.write(events({**END, "seq": 1}))

        Fake.script, side = [waits], Typed()
        watched(target, side)
        assert side.said == ["hello"]


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    readable, writable = os.pipe()
    try:
        yield readable, writable
    finally:
        os.close(readable)
        os.close(writable)
