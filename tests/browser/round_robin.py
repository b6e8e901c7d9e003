"""One address in front of several replicas, so that a browser meets all of them: each connection goes to the next one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import count


class RoundRobin:
    """Forwards bytes, without affinity. A replica that refuses is passed over."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Listen on a free port of this machine until `close`."""
        self._ports = list(ports)
        self._turn = count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.connections = [0] * len(self._ports)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Break every open connection, as a network does; return how many there were."""
        sockets = list(self._open)
        for one in sockets:
            _close(one)
        return len(sockets) // 2

    def close(self) -> None:
        """Stop."""
        _close(self._listener)
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        replica = self._connect()
        if replica is None:
            _close(client)
            return
        self._open |= {client, replica}
        back = threading.Thread(target=_pump, args=(replica, client), daemon=True)
        back.start()
        _pump(client, replica)
        back.join()
        self._open -= {client, replica}

    def _connect(self) -> socket.socket | None:
        for _ in self._ports:
            number = next(self._turn) % len(self._ports)
            with suppress(OSError):
                replica = socket.create_connection(("127.0.0.1", self._ports[number]), timeout=5)
                replica.settimeout(None)
                self.connections[number] += 1
                return replica
        return None


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _close(source)
    _close(target)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
