"""A door in front of the API server that a test can shut: every connection breaks and none is made, until it is opened again.

It knows only the kubeconfig that names the server.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Door:
    """Forwards connections to the server of a kubeconfig. `kubeconfig` is a file that leads through the door."""

    def __init__(self, kubeconfig: str, folder: Path) -> None:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._target = (str(server.hostname), server.port or 443)
        self._listener = socket.create_server(("127.0.0.1", 0))
        config["clusters"][0]["cluster"] |= {
            "server": f"https://127.0.0.1:{self._listener.getsockname()[1]}",
            "tls-server-name": str(server.hostname),
        }
        self.kubeconfig = str(folder / f"kubeconfig-{os.urandom(4).hex()}")
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))
        self._lock = threading.Lock()
        self._pairs: set[socket.socket] = set()
        self._shut = self._closed = False
        self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._lock:
            self._shut = True
            for each in self._pairs:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections through again."""
        self._shut = False

    def close(self) -> None:
        """End."""
        self._closed = True
        self.shut()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._shut:
                    self.refused += 1
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._pairs |= {client, server}
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with selectors.DefaultSelector() as ready, suppress(OSError):
            for each in other:
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    source = key.fileobj
                    data = source.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        raise OSError
                    other[source].sendall(data)  # type: ignore[index]
        with self._lock:
            self._pairs -= {client, server}
        client.close()
        server.close()
