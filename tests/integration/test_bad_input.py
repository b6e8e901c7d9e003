"""Hostile and broken requests, on every replica: a typed refusal each time, never an error of ours, and nothing kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import websocket

from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import Refused, open_socket, read_frame, watch
from tests.servers import Postgres, wait_until

JSON = {"Content-Type": "application/json"}
GOOD = {"script": "true", "language": "bash"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_request"),
        (b"{", 400, "bad_request"),
        (b'{"script": NaN}', 400, "bad_request"),
        (b'{"script": "\xff\xfe"}', 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b"[]", 422, "invalid_input"),
        (b'"text"', 422, "invalid_input"),
        (b"{}", 422, "invalid_input"),
        (b'{"script": "true"}', 422, "invalid_input"),
        (b'{"script": 5, "language": "bash"}', 422, "invalid_input"),
        (b'{"script": "a\\u0000b", "language": "bash"}', 422, "invalid_input"),
        (b'{"script": "\\ud800", "language": "bash"}', 422, "invalid_input"),
        (b'{"script": "true", "language": "cobol"}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "sudo": true}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "timeout": -1}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "timeout": 1e999}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "memory": 99999999999999999999999999}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "cpu": "lots"}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "env": {"A=B": "x"}}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "env": {"PODWIRE_TOKEN": "x"}}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "files": {"../../etc/passwd": "x"}}', 422, "invalid_input"),
        (b'{"script": "true", "language": "bash", "labels": {"' + b"x" * 1000 + b'": "y"}}', 422, "invalid_input"),
        (b'{"script": "' + b"x" * 300_000 + b'", "language": "bash"}', 422, "invalid_input"),
        (b'{"script": "' + b"x" * 17_000_000 + b'"}', 413, "too_large"),
    ],
)
def test_a_body_that_is_no_run_is_refused_with_a_reason(client: Client, body: bytes, status: int, code: str) -> None:
    problem = client.request("POST", "/v1/runs", body, JSON).refused(status, code)
    assert problem["detail"] and problem["status"] == status
    if code == "invalid_input":
        assert all(fault["field"] and fault["message"] for fault in problem["errors"])  # type: ignore[attr-defined]


def test_nothing_refused_was_kept(client: Client) -> None:
    client.request("POST", "/v1/runs", b"{}", JSON).must(422)
    good = json.dumps(GOOD).encode()
    client.request("POST", "/v1/runs", good, {"Content-Type": "text/plain"}).refused(415, "unsupported_media_type")
    client.request("POST", "/v1/runs", good, {**JSON, "Idempotency-Key": "k" * 300}).must(422)
    assert client.get("/v1/runs").must(200).json["items"] == []


def test_all_faults_are_named_at_once(client: Client) -> None:
    body = {"script": "true", "language": "cobol", "timeout": "soon", "cpu": -1, "priority": "urgent", "colour": "red"}
    problem = client.post("/v1/runs", body).refused(422, "invalid_input")
    fields = {fault["field"] for fault in problem["errors"]}  # type: ignore[attr-defined]
    assert fields == {"language", "timeout", "cpu", "priority", "colour"}


@pytest.mark.trap("C14")
def test_an_idempotency_key_is_good_for_one_request(podwire: Podwire, client: Client) -> None:
    first = client.submit("echo once", key="k1")
    assert [client.submit("echo once", key="k1") for _ in range(3)] == [first] * 3
    other = {"script": "echo twice", "language": "bash"}
    client.post("/v1/runs", other, {"Idempotency-Key": "k1"}).refused(422, "idempotency_mismatch")
    assert podwire.client().submit("echo once", key="k1") != first
    assert len(client.get("/v1/runs").json["items"]) == 1  # type: ignore[arg-type]


@pytest.mark.trap("W4")
def test_ids_that_are_none_are_not_found(client: Client) -> None:
    for run in ("x", "r" + "a" * 19, "R" + "A" * 19, "r" + "a" * 200, "..%2f..%2fetc", "r%00", "%F0%9F%92%A9"):
        for path in ("", "/events", "/output", "/questions"):
            client.get(f"/v1/runs/{run}{path}").refused(404, "not_found")
        client.cancel(run).refused(404, "not_found")
    for path in ("/v1/runs?limit=0", "/v1/runs?limit=x", "/v1/runs?status=dead", "/v1/runs?colour=red", "/v1/queue?limit=-1"):
        client.get(path).must(422)
    client.get("/v1/runs?cursor=%00%ff").must(400, 422)
    client.request("DELETE", "/v1/runs").refused(405, "method_not_allowed")


@pytest.fixture
def running(client: Client) -> Iterator[str]:
    """A run that goes on during the test."""
    run = client.submit("sleep 60", grace=0)
    client.wait_status(run, "running")
    yield run
    client.cancel(run)


def closed_with(connection: websocket.WebSocket) -> int | None:
    """Read until the server closes, and return its code."""
    try:
        while (frame := read_frame(connection))[1] is None:
            continue
        return frame[1]
    finally:
        connection.shutdown()


def test_frames_that_break_the_protocol_close_the_connection_with_their_code(client: Client, running: str) -> None:
    text, binary = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY
    for payload, opcode, code in (
        (b"\0\1", binary, {1003}),
        (b"x" * 70_000, text, {1009}),
        (b"{", text, {4400, 1007}),
        (b'{"type": "dance", "id": "c1"}', text, {4400}),
        (b'{"type": "ping"}', text, {4400}),
        (b"[]", text, {4400}),
        (b"\xff\xff", text, {1007, 4400}),
    ):
        connection = open_socket(client, running)
        connection.send(payload, opcode)
        assert closed_with(connection) in code, payload[:40]


def test_commands_that_cannot_be_carried_out_get_a_reply_and_the_stream_goes_on(client: Client, running: str) -> None:
    watcher = watch(client, running)
    watcher.wait_connected()
    for frame in (
        {"type": "ping", "id": "p1"},
        {"type": "answer", "id": "a1", "question": running + "-1-1", "value": "x"},
        {"type": "answer", "id": "a2", "question": 5},
        {"type": "input", "id": "i1", "data": "text\n"},
        {"type": "cancel", "id": "c1"},
    ):
        watcher.send(frame)
    told = watcher.finish()
    replies = {reply["id"]: reply for reply in told.replies}
    assert replies["p1"]["ok"] is replies["c1"]["ok"] is True
    assert replies["a1"]["error"]["code"] == "not_found"
    assert replies["a2"]["error"]["code"] == "invalid_input"
    assert replies["i1"]["error"]["code"] == "conflict"
    assert told.end["reason"] == "CancelledByUser"


def test_positions_that_never_were_lead_to_an_answer_and_not_to_silence(client: Client, running: str) -> None:
    for position in ("x", "1", "-1-2", "1-", "1-2-3", "9" * 50 + "-1", "%00"):
        with pytest.raises(Refused) as refused:
            open_socket(client, running, position).shutdown()
        assert refused.value.status in (400, 422)
        client.get(f"/v1/runs/{running}/events?position={position}").must(400, 422)
    done = client.submit("echo done")
    client.wait_end(done)
    connection = open_socket(client, done, "9-999999")
    assert closed_with(connection) == 1000


def test_half_requests_and_noise_do_not_disturb_others(podwire: Podwire, client: Client) -> None:
    long_header = b"GET / HTTP/1.1\r\nHost: " + b"x" * 20_000
    for noise in (b"\0" * 1000, long_header, b"POST /v1/runs HTTP/1.1\r\nContent-Length: -5\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", podwire.web[0].port)) as half:
            half.sendall(noise)
    assert client.at(0).get("/livez").status == 200


def test_without_the_database_everything_says_so_and_runs_go_on_after_it() -> None:
    postgres = Postgres()
    podwire = None
    try:
        postgres.start()
        podwire = Podwire(postgres, web=2, workers=1, lease_s=8)
        podwire.start()
        client = podwire.client()
        run = client.submit("for i in $(seq 150); do echo $i; sleep 0.02; done; ask --timeout 0.1 --default x ok?")
        watcher = watch(client, run)
        watcher.wait_for("30\n")
        postgres.stop()
        own = f"/v1/runs/{run}"
        for method, path in (("GET", "/v1/runs"), ("POST", "/v1/runs"), ("GET", own), ("POST", own + "/cancel")):
            answer = client.send(method, path, GOOD if path == "/v1/runs" else {})
            answer.refused(503, "store_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/readyz").status == 503
        assert client.get("/livez").status == 200
        postgres.start()
        told = watcher.finish(b"".join(b"%d\n" % number for number in range(1, 151)) + b"x\n")
        assert told.end["status"] == "succeeded"
        wait_until(lambda: client.get("/readyz").status == 200, "all was ready again")
    finally:
        if podwire is not None:
            podwire.stop()
        postgres.remove()
