"""One connection over a socket pair, on real threads: whole frames, pings, the deadline of a write, closing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request, TextMessage

from app.domain.errors import BadRequest
from app.live.batch import text_frame
from app.web.streams.connection import Connection, ConnectionClosed, check_handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Peer:
    """The client's end, with a parser of its own."""

    def __init__(self, near: socket.socket) -> None:
        self.socket = near
        near.settimeout(10)
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.protocol.send(Request("x", "/"))
        self.protocol.handshake._nonce = KEY.encode()  # type: ignore[attr-defined]

    def events(self) -> Iterator[object]:
        while data := self.socket.recv(65536):
            self.protocol.receive_data(data)
            yield from self.protocol.events()

    def send(self, event: wsproto.events.Event) -> None:
        self.socket.sendall(self.protocol.send(event))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    # Small, so that one write rarely takes a whole frame.
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with near, far:
        yield near, far


def make(ends: tuple[socket.socket, socket.socket], silence_s: float = 10.0) -> tuple[Connection, Peer]:
    connection = Connection({"gunicorn.socket": ends[1], "HTTP_SEC_WEBSOCKET_KEY": KEY}, silence_s)
    peer = Peer(ends[0])
    accepted = next(peer.events())
    assert isinstance(accepted, AcceptConnection) and not accepted.extensions
    return connection, peer


def read_all(connection: Connection) -> tuple[threading.Thread, list[str | None]]:
    seen: list[str | None] = []
    thread = threading.Thread(target=lambda: seen.extend(connection.messages()))
    thread.start()
    return thread, seen


def test_frames_of_many_threads_stay_whole(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, peer = make(ends)
    texts = [str(number) * 30_000 for number in range(6)]

    def send(text: str) -> None:
        for turn in range(20):
            connection.send_frames((text_frame(text.encode()),), urgent=bool(turn % 2))

    threads = [threading.Thread(target=send, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    received: list[str] = []
    part = ""
    for event in peer.events():
        if isinstance(event, TextMessage):
            part += event.data
            if event.message_finished:
                received.append(part)
                part = ""
        if len(received) == 120:
            break
    for thread in threads:
        thread.join()
    assert sorted(received) == sorted(texts * 20)
    connection.finish()


@pytest.mark.trap("S10")
def test_a_silent_peer_is_pinged_then_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, peer = make(ends, silence_s=0.1)
    reader, seen = read_all(connection)
    assert any(isinstance(event, Ping) for event in peer.events())
    reader.join(10)
    assert not reader.is_alive() and connection.over and seen.count(None) == 1
    connection.finish()


@pytest.mark.trap("S12")
def test_a_peer_that_takes_nothing_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, _ = make(ends, silence_s=0.1)
    with pytest.raises(ConnectionClosed):
        connection.send_frames((text_frame(b"x" * 10_000_000),))
    assert connection.over
    with pytest.raises(ConnectionClosed):
        connection.send_frames((text_frame(b"x"),))
    connection.finish()


def test_closing_waits_for_the_peer_and_nothing_follows_it(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, peer = make(ends)
    reader, _ = read_all(connection)
    connection.close(1012, "draining")
    connection.close(1000)
    closed = next(event for event in peer.events() if isinstance(event, CloseConnection))
    assert (closed.code, closed.reason) == (1012, "draining")
    with pytest.raises(ConnectionClosed):
        connection.send_frames((text_frame(b"x"),))
    peer.send(closed.response())
    reader.join(10)
    assert not reader.is_alive()
    connection.finish()


def test_a_peer_that_leaves_is_answered(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, peer = make(ends)
    reader, seen = read_all(connection)
    peer.send(Message("hello"))
    peer.send(CloseConnection(1000))
    assert next(event for event in peer.events() if isinstance(event, CloseConnection)).code == 1000
    reader.join(10)
    assert seen == ["hello"]
    connection.finish()


@pytest.mark.parametrize(("key", "number"), [("", "13"), ("short", "13"), (KEY, "8"), (KEY, None), (KEY + "\r\nX: y", "13")])
def test_only_a_proper_handshake_is_taken(key: str, number: str | None) -> None:
    version = {"HTTP_SEC_WEBSOCKET_VERSION": number} if number else {}
    with pytest.raises(BadRequest):
        check_handshake({"REQUEST_METHOD": "GET", "HTTP_SEC_WEBSOCKET_KEY": key, **version})
    right = {"REQUEST_METHOD": "GET", "HTTP_SEC_WEBSOCKET_KEY": KEY, "HTTP_SEC_WEBSOCKET_VERSION": "13"}
    check_handshake(right)
    with pytest.raises(BadRequest):
        check_handshake({**right, "REQUEST_METHOD": "HEAD"})


def test_a_handler_may_send_and_receive_one_text_after_the_other(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, peer = make(ends, silence_s=0.2)
    # In one piece, so that the second is known when the first is asked for.
    peer.socket.sendall(peer.protocol.send(Message("one")) + peer.protocol.send(Message("two")))
    assert [connection.receive(), connection.receive()] == ["one", "two"]
    connection.send("three")
    assert next(event for event in peer.events() if isinstance(event, TextMessage)).data == "three"
    peer.send(CloseConnection(1000))
    with pytest.raises(ConnectionClosed):
        connection.receive()
    connection.finish()


def test_who_left_is_neither_told_nor_waited_for(ends: tuple[socket.socket, socket.socket]) -> None:
    connection, peer = make(ends)
    peer.socket.close()
    assert list(connection.messages()) == [] and connection.over
    connection.close()
    connection.wait_for_close()
    connection.finish()
