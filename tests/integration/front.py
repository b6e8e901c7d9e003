"""A proxy in front of replicas, as a Service is one: new connections go to those that are ready and do not leave, in turn.

It carries bytes and knows nothing of HTTP, but for asking each replica whether it is ready.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from tests.integration.cluster import Web

LOOK_S = 0.05
PIECE = 65536


class Front:
    """Forwards connections. `passed` counts them by the replica's name; `turned_away` those that nobody took."""

    def __init__(self, replicas: Sequence[Web]) -> None:
        """Serve at `url` until `close`."""
        self._replicas = list(replicas)
        self._leaving: set[str] = set()
        self._endpoints: list[Web] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._closed = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed: Counter[str] = Counter()
        self.turned_away = 0
        for work in (self._look, self._accept):
            threading.Thread(target=work, daemon=True).start()

    @property
    def endpoints(self) -> list[str]:
        """The names of the replicas that get new connections."""
        return [replica.name for replica in self._endpoints]

    def leave(self, replica: Web) -> None:
        """Give the replica no new connections; those that it has stay."""
        self._leaving.add(replica.name)

    def close(self) -> None:
        """End."""
        self._closed.set()
        self._listener.close()

    def _look(self) -> None:
        while not self._closed.wait(LOOK_S):
            self._endpoints = [one for one in self._replicas if one.name not in self._leaving and one.ready()]

    def _accept(self) -> None:
        turn = 0
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            replicas, turn = self._endpoints, turn + 1
            try:
                chosen = replicas[turn % len(replicas)]
                server = socket.create_connection(("127.0.0.1", chosen.port), 5)
            except (OSError, ZeroDivisionError):
                self.turned_away += 1
                client.close()
                continue
            server.settimeout(None)
            self.passed[chosen.name] += 1
            threading.Thread(target=_connect, args=(client, server), daemon=True).start()


def _connect(client: socket.socket, server: socket.socket) -> None:
    with client, server:
        back = threading.Thread(target=_carry, args=(server, client), daemon=True)
        back.start()
        _carry(client, server)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
