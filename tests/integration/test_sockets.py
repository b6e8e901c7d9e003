"""What sockets do in a real gunicorn: frames, refusals, closing, leaving. The hub follows a script; nothing else is a double."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from websocket import ABNF

from tests.integration.socket_site import Server
from tests.servers import wait_until

CAP = 60


def submit(server: Server, *script: str, **fields: Any) -> str:
    return str(server.site.submit(command=list(script), script=None, language=None, image="none", **fields)["id"])


def connect(server: Server, run: str, name: str = "ann", position: str = "0-0", **options: Any) -> websocket.WebSocket:
    token = options.pop("token", server.site.tokens[name])
    header = [f"Authorization: Bearer {token}", "Sec-WebSocket-Extensions: permessage-deflate"]
    path = f"/v1/runs/{run}/stream?position={position}"
    return server.connect(path, header, suppress_origin=True, timeout=30, **options)


def frames(connection: websocket.WebSocket) -> Iterator[dict[str, Any] | int]:
    """Yield the frames, then the close code."""
    while True:
        opcode, data = connection.recv_data(control_frame=True)
        if opcode == ABNF.OPCODE_TEXT:
            yield json.loads(data)
        if opcode == ABNF.OPCODE_CLOSE:
            yield int.from_bytes(data[:2], "big")
            return


def told(connection: websocket.WebSocket, kind: str) -> dict[str, Any]:
    """Return the next frame of the kind."""
    return next(frame for frame in frames(connection) if isinstance(frame, dict) and frame["type"] == kind)


def pong(connection: websocket.WebSocket) -> bytes:
    """Return what the next pong carries. The server tells what it has to tell in between, as it likes."""
    while True:
        opcode, data = connection.recv_data(control_frame=True)
        if opcode == ABNF.OPCODE_PONG:
            return bytes(data)
        assert opcode != ABNF.OPCODE_CLOSE, data


def apart_from_places(told: list[dict[str, Any] | int]) -> list[dict[str, Any]]:
    """Return the frames without those that tell where the run stands in the queue, which may come at any time."""
    return [frame for frame in told if isinstance(frame, dict) and frame["type"] != "queue"]


def code_of(connection: websocket.WebSocket) -> object:
    *_, last = frames(connection)
    return last


def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers={"Authorization": f"Bearer {server.site.tokens['ann']}", **named})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body.startswith(b"{") else {"text": body.decode()}


def streams(server: Server) -> int:
    return int(re.findall(r"^podwire_streams (\d+)", get(server, "/metrics")[1]["text"], re.MULTILINE)[0])


def test_a_watcher_gets_hello_every_event_and_the_end(server: Server) -> None:
    run = submit(server, "flood", "3", "10")
    connection = connect(server, run, position="1-1")
    hello, *others, code = frames(connection)
    events = apart_from_places(others)
    assert isinstance(hello, dict) and (hello["type"], hello["run"]["id"], hello["position"]) == ("hello", run, "1-1")
    seen = [event for frame in events for event in frame["events"]]
    assert [(event["seq"], event["kind"]) for event in seen] == [(2, "output"), (3, "output"), (4, "end")]
    assert code == 1000
    hello, *others, code = frames(connect(server, submit(server, "over")))
    assert (code, apart_from_places(others)) == (1000, []) and "sec-websocket-extensions" not in connection.headers
    reset = told(connect(server, submit(server, "reset")), "reset")
    assert reset == {"type": "reset", "epoch": 2, "seq": 0}


def test_a_queued_run_says_where_it_stands(server: Server) -> None:
    frame = told(connect(server, submit(server, "idle")), "queue")
    assert frame["position"] >= 1 and "in the queue" in frame["message"]


def test_commands_are_carried_out_and_answered(server: Server) -> None:
    run = submit(server, "idle")
    connection = connect(server, run)

    def ask(**frame: Any) -> dict[str, Any]:
        connection.send(json.dumps(frame))
        return told(connection, "reply")

    assert ask(type="ping", id="c1") == {"type": "reply", "id": "c1", "ok": True}
    missing = ask(type="answer", id="c2", question=f"{run}-1-1", value=1)
    assert (missing["ok"], missing["id"], missing["error"]["code"]) == (False, "c2", "not_found")
    assert ask(type="input", id="c3", data="x")["error"]["code"] == "conflict"
    wrong = ask(type="input", id="c4", data=5, more=1)
    assert {fault["field"] for fault in wrong["error"]["errors"]} == {"data", "more"}
    assert ask(type="cancel", id="c5")["run"]["status"] == "cancelled"
    connection.ping("sign of life")
    assert pong(connection) == b"sign of life"
    connection.close()


@pytest.mark.parametrize(
    ("opcode", "data", "code"),
    [
        (ABNF.OPCODE_TEXT, b"{", 4400),
        (ABNF.OPCODE_TEXT, b"[]", 4400),
        (ABNF.OPCODE_TEXT, b'{"type":"fly","id":"c1"}', 4400),
        (ABNF.OPCODE_TEXT, b'{"type":"ping"}', 4400),
        (ABNF.OPCODE_TEXT, b'{"type":["ping"],"id":"c1"}', 4400),
        (ABNF.OPCODE_TEXT, b'{"type":"ping","id":"\\u0000"}', 4400),
        (ABNF.OPCODE_TEXT, b"[" * 60_000, 4400),
        (ABNF.OPCODE_TEXT, b"\xff\xfe", 1007),
        (ABNF.OPCODE_TEXT, b"x" * 70_000, 1009),
        (ABNF.OPCODE_BINARY, b"x", 1003),
        (3, b"x", 1002),
    ],
)
def test_a_broken_frame_closes_with_its_code(server: Server, opcode: int, data: bytes, code: int) -> None:
    connection = connect(server, submit(server, "idle"))
    frame = bytearray(ABNF(1, 0, 0, 0, 1, 1, data).format())
    frame[0] = 0x80 | opcode
    connection.sock.sendall(frame)
    assert code_of(connection) == code
    wait_until(lambda: connection.sock.recv(10) == b"", "the server closes the socket")


def test_fragments_are_put_together_and_counted_together(server: Server) -> None:
    connection = connect(server, submit(server, "idle"))
    for number, piece in enumerate(('{"type":"ping",', '"id":', '"ä1"}')):
        connection.send_frame(_fragment(piece, number, last=number == 2))
    assert told(connection, "reply")["id"] == "ä1"
    for number in range(5):
        connection.send_frame(_fragment("x" * 16_000, number, last=False))
    assert code_of(connection) == 1009


def test_a_revoked_token_ends_the_connection_at_the_next_message(server: Server) -> None:
    users = server.site.services.store.users
    token, info = users.create_token(server.site.people["ann"].id, "short")
    connection = connect(server, submit(server, "idle"), token=token)
    users.revoke(info.id)
    connection.send('{"type":"cancel","id":"c1"}')
    assert code_of(connection) == 4401


@pytest.mark.trap("S16")
def test_what_is_refused_is_refused_before_the_upgrade(server: Server) -> None:
    run = submit(server, "idle")
    for status, code, options in (
        (404, "not_found", {"name": "bob"}),
        (401, "unauthenticated", {"token": "wrong"}),
        (400, "bad_request", {"position": "x"}),
    ):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            connect(server, run, **options)  # type: ignore[arg-type]
        assert (refused.value.status_code, json.loads(refused.value.resp_body)["code"]) == (status, code)
    assert get(server, f"/v1/runs/{run}/stream")[0] == 426
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "8", "Sec_WebSocket_Key": "x"}
    assert get(server, f"/v1/runs/{run}/stream", **upgrade)[0] == 400


@pytest.mark.trap("S11")
def test_the_cap_is_said_and_leaves_room_for_requests(server: Server) -> None:
    run = submit(server, "idle")
    wait_until(lambda: streams(server) == 0, "earlier streams are gone")
    held = [connect(server, run) for _ in range(CAP)]
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(server, run)
    problem = json.loads(refused.value.resp_body)
    assert (refused.value.status_code, problem["code"], problem["limit"]) == (503, "too_many_sockets", CAP)
    assert get(server, f"/v1/runs/{run}/events")[0] == 503
    assert get(server, "/livez")[0] == get(server, "/readyz")[0] == 200
    connect(server, run, "root").close()
    held.pop().close()
    wait_until(lambda: streams(server) == CAP - 1, "the place is free")
    for connection in [*held, connect(server, run)]:
        connection.close()


@pytest.mark.trap("S10")
def test_aborted_connections_leave_nothing_behind(server: Server) -> None:
    run = submit(server, "idle")
    wait_until(lambda: streams(server) == 0, "earlier streams are gone")
    before = _descriptors(server)
    request = (
        f"GET /v1/runs/{run}/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {server.site.tokens['root']}\r\n\r\n"
    ).encode()
    for number in range(300):
        raw = socket.create_connection(("127.0.0.1", server.port))
        # Cut anywhere: inside the request, after it, and with a reset that loses the answer.
        raw.sendall(request[: len(request) if number % 3 else number % len(request)])
        if number % 2:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
    wait_until(lambda: streams(server) == 0, "all streams are gone")
    wait_until(lambda: _descriptors(server) <= before + 2, "all descriptors are closed")
    assert "Traceback" not in server.log()


@pytest.mark.trap("S12")
def test_a_stalled_reader_and_a_busy_writer_do_not_disturb_each_other(server: Server) -> None:
    run = submit(server, "flood", "800", "20000")
    stalled = connect(server, run, sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),))
    busy = connect(server, run)
    pings = threading.Thread(target=lambda: [busy.send(json.dumps({"type": "ping", "id": str(n)})) for n in range(50)])
    pings.start()
    seqs, replies = [], []
    for frame in frames(busy):
        if isinstance(frame, dict) and frame["type"] == "events":
            seqs += [event["seq"] for event in frame["events"]]
        elif isinstance(frame, dict) and frame["type"] == "reply":
            replies.append(frame["id"])
    pings.join()
    assert seqs == list(range(1, 802))
    assert replies == [str(n) for n in range(len(replies))] and len(replies) > 10
    late = [frame["events"] for frame in frames(stalled) if isinstance(frame, dict) and "events" in frame]
    assert [event["seq"] for events in late for event in events] == seqs


def test_events_over_http_can_be_resumed(server: Server) -> None:
    run = submit(server, "flood", "3", "5")
    text = get(server, f"/v1/runs/{run}/events", Last_Event_ID="1-2")[1]["text"]
    assert re.findall(r"^id: (.*)\nevent: (.*)$", text, re.MULTILINE) == [("1-3", "output"), ("1-4", "end")]
    assert [json.loads(line)["seq"] for line in re.findall(r"^data: (.*)$", text, re.MULTILINE)] == [3, 4]
    assert get(server, f"/v1/runs/{run}/events?position=x")[0] == 400


def test_a_body_without_length_is_limited_too(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {server.site.tokens['ann']}", "Content-Type": "application/json"}
    pieces = iter([b"x" * 100_000] * 10)
    connection.request("POST", f"/v1/runs/{'r' + 'a' * 19}/input", body=pieces, headers=headers, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")
    connection.close()


@pytest.mark.trap("S13")
@pytest.mark.trap("L4")
def test_a_leaving_process_dismisses_its_streams_one_after_the_other(tmp_path: Path) -> None:
    server = Server(tmp_path, drain_s=1.0)
    try:
        run = submit(server, "idle")
        held = [connect(server, run) for _ in range(40)]
        events = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        events.request("GET", f"/v1/runs/{run}/events", headers={"Authorization": f"Bearer {server.site.tokens['ann']}"})
        stream = events.getresponse()
        server.process.terminate()
        server.process.terminate()
        assert [code_of(connection) for connection in held] == [1012] * 40
        assert stream.read().endswith(b"\n\n")
        events.close()
        assert server.stop() == 0
        assert "Traceback" not in server.log()
    finally:
        server.stop()


def _fragment(text: str, number: int, *, last: bool) -> ABNF:
    return ABNF.create_frame(text.encode(), ABNF.OPCODE_CONT if number else ABNF.OPCODE_TEXT, fin=int(last))


def _descriptors(server: Server) -> int:
    worker = subprocess.check_output(["pgrep", "-P", str(server.process.pid)]).split()[0].decode()
    return len(os.listdir(f"/proc/{worker}/fd"))
