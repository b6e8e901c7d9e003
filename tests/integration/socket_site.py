"""The web front end in gunicorn processes of its own, with a hub that follows a script: only what sockets do is tested with it.

A run's command is the script: `idle`, `flood COUNT SIZE` (events of that size, then the end), `reset`, `over`. Beside the
application's own socket there is one as anybody would add it: `/echo/NAME`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import websocket
from flask import Flask, has_app_context, has_request_context

from app.domain.queue.admission import Limits
from app.domain.runs.events import Position
from app.live.batch import Batch, Reset, make_batch, nothing_more
from app.live.hub import Hub
from app.service.services import Services
from app.web.factory import create_app
from app.web.streams.connection import Connection
from app.web.streams.sock import Sock
from config.settings import Settings
from tests.servers import free_port, wait_until
from tests.unit.web.doubles import Publishing, Site, make_services

ROOT = Path(__file__).parents[2]


class LoudCursor:
    """Brings what the run's script says, as fast as it is asked."""

    def __init__(self, script: list[str], position: Position) -> None:
        self.position = position
        self._items = _play(script, position)
        self._closed = threading.Event()

    def next(self, timeout_s: float) -> Batch | Reset | None:
        item = next(self._items, None)
        if item is None:
            self._closed.wait(timeout_s)
        return item

    def close(self) -> None:
        self._closed.set()


class LoudHub:
    """Makes cursors, and is never degraded."""

    degraded = False

    def __init__(self, services: Services) -> None:
        self._services = services

    def watch(self, run_id: str, position: Position) -> LoudCursor:
        run = self._services.store.runs.get(run_id)
        return LoudCursor(list(run.spec.command) if run else [], position)


def _play(script: list[str], position: Position) -> Iterator[Batch | Reset]:
    if script[0] == "reset":
        yield Reset(2, 0)
    if script[0] == "over":
        yield nothing_more(position)
    if script[0] == "flood":
        count, size = int(script[1]), int(script[2])
        for seq in range(position.seq + 1, count + 1):
            yield make_batch(1, seq - 1, [_event(seq, "output", text="x" * size)])
        yield make_batch(1, count, [_event(count + 1, "end")])


def _event(seq: int, kind: str, **fields: object) -> bytes:
    event = {"epoch": 1, "seq": seq, "kind": kind, "time": 0, **fields}
    return json.dumps(event, separators=(",", ":")).encode()


def create() -> Flask:
    """Return the application of one process. (Called by gunicorn.)"""
    settings = Settings.from_env()
    services = make_services(settings, Publishing(), Limits(100_000, 0, 100_000, 0))
    app = create_app(services, cast(Hub, LoudHub(services)), settings)
    sock = Sock(app)

    @sock.route("/echo/<name>")
    def echo(connection: Connection, name: str) -> None:
        connection.send(f"{name} {has_request_context() or has_app_context()}")
        while (text := connection.receive()) != "leave":
            # Much is sent at once for a few bytes, so that one write rarely takes all of it.
            connection.send(text * 2_000_000 if text.startswith("much") else text)

    return app


class Server:
    """A gunicorn with its processes, and the sockets that a test opened."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.port = free_port()
        self._sockets: list[websocket.WebSocket] = []
        self.site = Site(folder, Limits(100_000, 0, 100_000, 0), bind=f"127.0.0.1:{self.port}", web_processes=1, **settings)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PODWIRE_")}
        environment = {**inherited, **self.site.settings.environment(), "PYTHONPATH": str(ROOT), "PYTHONOPTIMIZE": "1"}
        command = [sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "tests.integration.socket_site:create()"]
        self._log = (folder / "gunicorn.log").open("wb")
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=self._log, stderr=self._log)
        wait_until(self._answers, "gunicorn answers")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def connect(self, path: str, headers: list[str], **options: Any) -> websocket.WebSocket:
        """Open a socket."""
        opened = websocket.create_connection(f"ws://127.0.0.1:{self.port}{path}", header=headers, **options)
        self._sockets.append(opened)
        return opened

    def close_sockets(self) -> None:
        """Close all sockets that were opened."""
        while self._sockets:
            self._sockets.pop().shutdown()

    def stop(self) -> int:
        """Ask it to leave, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.close_sockets()
            self._log.close()

    def _answers(self) -> bool:
        import urllib.request

        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
