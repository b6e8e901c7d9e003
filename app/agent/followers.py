"""The clients that follow the agent: accepted, served, told what all are told, and dropped when they read nothing."""

from __future__ import annotations

import select
import time
from functools import partial

from app.agent.records.wire_format import Kind
from app.agent.server import Client, ClientGone, Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Watch(Protocol):
        """What calls back when a descriptor is ready."""

        def watch(self, fd: int, ready: Callable[[], object], events: int = ...) -> None:
            """Call `ready` whenever one of the events is there."""

        def change(self, fd: int, events: int) -> None:
            """Watch for these events instead."""

        def forget(self, fd: int) -> None:
            """Watch the descriptor no more."""


READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Followers:
    """All connected clients."""

    def __init__(self, listener: Listener, watch: Watch, receive: Callable[[Client], None]) -> None:
        """`receive(client)` is called when it has sent something; it may raise ClientGone."""
        self._listener, self._watch, self._receive = listener, watch, receive
        self._clients: dict[int, Client] = {}

    def __bool__(self) -> bool:
        return bool(self._clients)

    def listen(self) -> None:
        """Take clients in from now on."""
        self._watch.watch(self._listener.fd, self._accept)

    def _accept(self) -> None:
        if client := self._listener.accept():
            self._clients[client.fd] = client
            self._watch.watch(client.fd, partial(self._ready, client))

    def _ready(self, client: Client) -> None:
        try:
            self._receive(client)
        except ClientGone:
            self._drop(client)

    def send(self, client: Client, kind: Kind, body: dict[str, object]) -> None:
        """Send a message to one."""
        try:
            client.send(kind, time.time(), body)
        except ClientGone:
            self._drop(client)

    def broadcast(self, kind: Kind, body: dict[str, object]) -> None:
        """Send a message to all."""
        for client in list(self._clients.values()):
            self.send(client, kind, body)

    def push(self) -> None:
        """Send what waits for each, as far as it takes it."""
        for client in list(self._clients.values()):
            try:
                more = client.push()
            except ClientGone:
                self._drop(client)
                continue
            self._watch.change(client.fd, READABLE | (select.POLLOUT if more else 0))

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.fd, None):
            self._watch.forget(client.fd)
            client.close()
