"""An upgrade gives everything back, whatever fails on its way: the slot, what the handler was to serve, the socket."""

from __future__ import annotations

import _thread
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app.web.streams.drain import Drain
from app.web.streams.registry import StreamRegistry
from app.web.streams.sock import Admission, Upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Failure(Exception):
    """What fails here."""


def fail(*_: Any) -> None:
    raise Failure


def at_once(serve: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Start a thread that is over already: what escapes from it reaches nobody."""
    with suppress(Failure):
        serve(*arguments)


@pytest.mark.parametrize("close_fails", [False, True])
@pytest.mark.parametrize("what", ["thread", "handshake", "handler"])
def test_nothing_is_kept_of_an_upgrade_that_failed(monkeypatch: pytest.MonkeyPatch, what: str, close_fails: bool) -> None:
    registry = StreamRegistry(5, 5)
    closed: list[str] = []

    def close() -> None:
        closed.append("subject")
        if close_fails:
            raise Failure

    upgrade = Upgrade(fail, Admission(registry.acquire("ann"), None, close), Drain(registry, 0), "/echo")
    near, far = socket.socketpair()
    environ = {"gunicorn.socket": far, "HTTP_SEC_WEBSOCKET_KEY": KEY}
    near.settimeout(10)
    with near, far:
        if what == "thread":
            monkeypatch.setattr(_thread, "start_new_thread", fail)
        elif what == "handshake":
            monkeypatch.setattr("app.web.streams.sock.Connection", fail)
        else:
            monkeypatch.setattr(_thread, "start_new_thread", at_once)
            # The peer is gone, which ends the wait for its goodbye.
            near.shutdown(socket.SHUT_WR)
        with suppress(Failure) if what == "handler" else pytest.raises(Failure):
            upgrade.begin(environ)
        assert registry.count == 0 and closed == ["subject"]
        far.close()
        if what != "handshake":
            while near.recv(1000):
                continue
