"""A socket that was added by a plain `@sock.route`, in a real gunicorn: what Sock makes of it, which flask-sock would not."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest
import websocket
from websocket import ABNF

from tests.integration.socket_site import Server
from tests.servers import wait_until

CAP = 5


def connect(server: Server, name: str = "x", *headers: str, who: str = "ann", **options: Any) -> websocket.WebSocket:
    given = headers or (f"Authorization: Bearer {server.site.tokens[who]}",)
    return server.connect(f"/echo/{name}", [*given], timeout=20, **{"suppress_origin": True, **options})


def code_of(connection: websocket.WebSocket) -> int:
    while True:
        opcode, data = connection.recv_data(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big")


def refused(server: Server, *headers: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(websocket.WebSocketBadStatusException) as answer:
        connect(server, "x", *headers, **options)
    return answer.value.status_code, json.loads(answer.value.resp_body)["code"]


def test_the_handler_gets_the_arguments_and_runs_after_the_request(server: Server) -> None:
    connection = connect(server, "name-in-the-address")
    assert connection.recv() == "name-in-the-address False"
    for text in ("one", "zwei ä"):
        connection.send(text)
        assert connection.recv() == text


def test_no_compression_is_granted_to_who_offers_it(server: Server) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    connection = connect(server, "x", f"Authorization: Bearer {server.site.tokens['ann']}", offer)
    assert "sec-websocket-extensions" not in connection.headers


def test_what_one_write_does_not_take_is_sent_all_the_same(server: Server) -> None:
    connection = connect(server, skip_utf8_validation=True)
    connection.recv()
    connection.send("much of it")
    connection.send("more")
    assert [connection.recv() == "much of it" * 2_000_000, connection.recv()] == [True, "more"]


def test_the_connection_is_closed_when_the_handler_returns(server: Server) -> None:
    connection = connect(server)
    connection.send("leave")
    assert code_of(connection) == 1000
    connection.send_close()
    wait_until(lambda: connection.sock.recv(10) == b"", "the server closes the socket")


def test_messages_that_are_too_much_or_no_text_close_with_their_code(server: Server) -> None:
    connection = connect(server)
    connection.send("x" * 70_000)
    assert code_of(connection) == 1009
    connection = connect(server)
    connection.send_binary(b"x")
    assert code_of(connection) == 1003


def test_strangers_other_sites_and_too_many_are_refused_before_the_upgrade(server: Server) -> None:
    assert refused(server, "X-Nobody: 1") == (401, "unauthenticated")
    session, _ = server.site.services.store.users.open_session(server.site.people["ann"].id, 60)
    cookie = f"Cookie: podwire_session={session}"
    assert refused(server, cookie, suppress_origin=False, origin="http://elsewhere.example") == (403, "forbidden")
    connect(server, "x", cookie, suppress_origin=False, origin=f"http://127.0.0.1:{server.port}", who="bob").recv()
    for _ in range(CAP):
        connect(server, who="root").recv()
    assert refused(server, who="root") == (503, "too_many_sockets")


def test_without_an_upgrade_it_is_said_that_one_is_required(server: Server) -> None:
    for method in ("GET", "HEAD"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request(method, "/echo/x", headers={"Authorization": f"Bearer {server.site.tokens['ann']}"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
        connection.close()


def test_it_is_closed_when_the_process_drains(tmp_path: Path) -> None:
    server = Server(tmp_path, drain_s=0.5)
    try:
        held = [connect(server) for _ in range(3)]
        server.process.terminate()
        assert [code_of(connection) for connection in held] == [1012] * 3
        assert server.stop() == 0
        assert "Traceback" not in server.log()
    finally:
        server.stop()
