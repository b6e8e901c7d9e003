"""Servers of a test's own, on free ports and in temporary folders: real PostgreSQL and Redis, started, stopped and killed.

What is missing on this machine is skipped with a loud message, and is a failure where the environment says CI=true.
"""

from __future__ import annotations

import fcntl
import functools
import glob
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
import redis

# Below those that systems give to connections: else a client's might take one between the look and the server's start.
FIRST_PORT, SHARES, SHARE = 10_000, 200, 100


class Ports:
    """Ports that no other process of tests on this machine is given: each process takes a share of them and keeps it."""

    def __init__(self) -> None:
        """Take a share. A lock on a file keeps it, until this process ends."""
        folder = Path(tempfile.gettempdir()) / f"podwire-test-ports-{os.geteuid()}"
        folder.mkdir(exist_ok=True)
        number = next((number for number in range(SHARES) if self._take(folder / str(number))), None)
        if number is None:
            raise RuntimeError("too many processes of tests: no ports are left")
        self._numbers = itertools.cycle(range(FIRST_PORT + number * SHARE, FIRST_PORT + (number + 1) * SHARE))

    def _take(self, share: Path) -> bool:
        descriptor = os.open(share, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        return True

    def next(self) -> int:
        """Return one that nobody listens on at the moment."""
        for port in itertools.islice(self._numbers, SHARE):
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
        raise RuntimeError("all ports of this process are in use")


_ports = functools.cache(Ports)


def free_port() -> int:
    """Return a port that nobody listens on at the moment, and that no other process of tests will be given."""
    return _ports().next()


def wait_until(condition: Callable[[], object], what: str, deadline_s: float = 60.0, every_s: float = 0.02) -> None:
    """Poll until the condition holds; fail the test, saying what did not happen, once the deadline is over."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"within {deadline_s:g} s it did not happen that {what}", pytrace=True)
        time.sleep(every_s)


def missing(what: str) -> NoReturn:
    """Skip because this machine lacks something; with CI=true that is a failure."""
    message = f"{what} IS MISSING ON THIS MACHINE: nothing was tested with it"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def find_program(*names: str) -> str:
    """Return the path of the first of the programs that is there."""
    for name in names:
        found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)
        if found:
            return found
    missing(names[0])


class Postgres:
    """A PostgreSQL cluster. It runs as the user `postgres` where we are root, for it refuses to run as root."""

    def __init__(self, max_connections: int = 100) -> None:
        """Create the cluster; `start` runs it."""
        self._initdb, self._server = find_program("initdb"), find_program("postgres")
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pw-pg-"))
        self._user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
        self._max_connections = max_connections
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(self._folder, self._user, -1)
        subprocess.run(
            [self._initdb, "-D", self._folder / "data", "-U", "podwire", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self._folder,
        )

    def start(self) -> None:
        """Run the server until `stop` or `kill`; returns when it takes connections."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": self._max_connections,
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
        }
        command = [self._server, "-D", str(self._folder / "data"), *(f"-c{name}={value}" for name, value in settings.items())]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._user, cwd=self._folder, start_new_session=True
            )
        wait_until(self._answers, "PostgreSQL took connections")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql://podwire@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create a database and return its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def stop(self) -> None:
        """Break off every connection and end the server in good order; its data stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)
            self._process = None

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Redis:
    """A redis-server with an append-only file (fsync every second), as in production."""

    def __init__(self) -> None:
        """Prepare; `start` runs it."""
        self._program = find_program("redis-server", "valkey-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = tempfile.mkdtemp(prefix="pw-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run the server until `kill`; returns when it answers."""
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._folder]
        safe = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
        self._process = subprocess.Popen(
            [self._program, *place, *safe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(self._answers, "Redis answered")

    def _answers(self) -> bool:
        with self.client() as client, suppress(redis.RedisError):
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        """Return a client; close it."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Kill the server and delete its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def listening_site() -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP on the loopback; give its address, and the paths that were asked of it, each of which is 404."""
    asked: list[str] = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
