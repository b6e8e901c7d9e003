"""A cluster of one pod on loopback: enough of the API for a link, and an agent behind exec that does what a test wants of it.

It serves GET, list, watch and events of pods, and exec as a WebSocket whose frames carry the agent's. No TLS, no credentials.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from app.agent.records import wire_format
from app.agent.records.wire_format import Kind
from app.launch.kubernetes.link.websocket_frames import BINARY, CLOSE, STDIN, STDOUT

Json = dict[str, Any]
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class FakeCluster:
    """`pod` is what the API shows, None when it is gone; `spool` is what the agent has recorded. Both may change at any time."""

    def __init__(self, pod: Json, folder: Path) -> None:
        """Serve at once; `kubeconfig` names the file that leads here."""
        self.pod: Json | None = pod
        self.spool = b""
        self.waits = True
        self.refuses = 0
        self.mute = False
        self.dials: list[float] = []
        self.follows: list[int] = []
        self.heard: list[tuple[int, Json]] = []
        self.connections: list[Exec] = []
        self.over, self.watched = threading.Event(), threading.Event()
        handler = type("Bound", (Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.kubeconfig = str(folder / "kubeconfig")
        config = {
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        Path(self.kubeconfig).write_text(yaml.safe_dump(config))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def record(self, kind: Kind, payload: bytes) -> None:
        """Add a record to the spool, and send it to whoever follows."""
        frame = wire_format.encode(kind, 1.0, payload)
        self.spool += frame
        for connection in self.connections:
            connection.say(frame)

    def change(self, pod: Json) -> None:
        """Show another state of the pod, and have whoever watches list anew."""
        self.pod = pod
        self.watched.set()

    def heard_of(self, kind: Kind) -> list[Json]:
        """Return the bodies of the commands of a kind."""
        return [body for each, body in list(self.heard) if each == kind]

    def hang_up(self, how: Callable[[Exec], None]) -> None:
        """End every exec connection in some way."""
        for connection in self.connections:
            how(connection)
        self.connections = []

    def close(self) -> None:
        """End."""
        self.over.set()
        self.watched.set()
        self.hang_up(Exec.cut)
        self._server.shutdown()
        self._server.server_close()


class Exec:
    """One exec connection, as the server has it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def say(self, data: bytes) -> None:
        """Send what the agent says."""
        self.frame(BINARY, bytes([STDOUT]) + data)

    def frame(self, opcode: int, payload: bytes) -> None:
        """Send a frame, unmasked as servers do."""
        size = len(payload)
        head = bytes([0x80 | opcode]) + (bytes([size]) if size < 126 else struct.pack(">BH", 126, size))
        with suppress(OSError):
            self._handler.connection.sendall(head + payload)

    def cut(self) -> None:
        """Break the connection."""
        with suppress(OSError):
            self._handler.connection.shutdown(2)

    def end(self) -> None:
        """End it as after a command that ended well."""
        self.frame(BINARY, b"\x03" + json.dumps({"status": "Success"}).encode())
        self.frame(CLOSE, struct.pack(">H", 1000))
        self.cut()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    cluster: FakeCluster

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        address = urlsplit(self.path)
        if address.path.endswith("/exec"):
            return self._exec()
        if "watch=1" in address.query:
            self.cluster.watched.wait()
            if not self.cluster.over.is_set():
                self.cluster.watched.clear()
            return self._json(410, {"message": "over"})
        pod = self.cluster.pod
        if address.path.endswith("/pods"):
            return self._json(200, {"metadata": {"resourceVersion": "1"}, "items": [pod] if pod else []})
        if address.path.endswith("/events"):
            return self._json(200, {"items": []})
        if pod is None or not address.path.endswith(f"/pods/{pod['metadata']['name']}"):
            return self._json(404, {"message": "pods not found", "reason": "NotFound"})
        return self._json(200, pod)

    def _json(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _exec(self) -> None:
        cluster = self.cluster
        cluster.dials.append(time.monotonic())
        if cluster.refuses:
            cluster.refuses -= 1
            return self._json(500, {"message": "the kubelet cannot be reached"})
        if cluster.pod is None:
            return self._json(404, {"message": "pods not found", "reason": "NotFound"})
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + ACCEPT).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", "v5.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            self._serve(Exec(self), wire_format.Decoder())

    def _serve(self, connection: Exec, decoder: wire_format.Decoder) -> None:
        while (payload := self._message()) is not None:
            if payload[:1] != bytes([STDIN]) or self.cluster.mute:
                continue
            for kind, _, body in decoder.feed(payload[1:]):
                self._heed(connection, kind, json.loads(body))

    def _heed(self, connection: Exec, kind: int, body: Json) -> None:
        cluster = self.cluster
        if kind == Kind.FOLLOW:
            cluster.follows.append(body["from"])
            cluster.connections.append(connection)
            beat = json.dumps({"waits": cluster.waits, "started": not cluster.waits}).encode()
            connection.say(wire_format.encode(Kind.HEARTBEAT, 1.0, beat) + cluster.spool[body["from"] :])
            return
        cluster.heard.append((kind, body))
        connection.say(wire_format.encode(Kind.ACK, 1.0, json.dumps({"id": body.get("id"), "ok": True}).encode()))

    def _message(self) -> bytes | None:
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
        mask, data = self.rfile.read(4), self.rfile.read(size)
        return bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
