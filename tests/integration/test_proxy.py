"""The documented proxy: a real nginx with docs/nginx.conf, in which only the addresses are others, before two replicas."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

from config.settings import Settings
from tests.integration.client import Client
from tests.integration.cluster import ROOT, Podwire, Process
from tests.integration.test_streaming import ticking
from tests.integration.watcher import Watcher, watch
from tests.servers import free_port, missing, wait_until

EXAMPLE = (ROOT / "docs" / "nginx.conf").read_text()
# proxy_read_timeout of the example.
SILENCE_S = 60
AROUND = """
daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log stderr warn; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/podwire.conf;
}}
"""


class Nginx(Process):
    """A real nginx with the example, for replicas on these ports."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        """Write its configuration; `start` runs it."""
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin") or missing("nginx")
        self.port = free_port()
        text = EXAMPLE
        addresses = {"10.0.0.11:8080": f"127.0.0.1:{ports[0]}", "10.0.0.12:8080": f"127.0.0.1:{ports[1]}"}
        for given, ours in {**addresses, "    listen 80;": f"    listen 127.0.0.1:{self.port};"}.items():
            assert text.count(given) == 1
            text = text.replace(given, ours)
        folder.mkdir(exist_ok=True)
        (folder / "podwire.conf").write_text(text)
        # Its children would become nobody, who may not write into the folder.
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user="user root;"))
        super().__init__("nginx", [program, "-e", "stderr", "-c", str(folder / "nginx.conf")], {}, folder)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def listens(self) -> bool:
        """Say whether it takes connections."""
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False


@contextmanager
def running(folder: Path, ports: list[int]) -> Iterator[Nginx]:
    nginx = Nginx(folder, ports)
    nginx.start()
    try:
        wait_until(nginx.listens, "nginx listened")
        yield nginx
        assert nginx.running
    finally:
        nginx.stop()


@pytest.fixture(scope="module")
def site(postgres: object) -> Iterator[Podwire]:
    """Two replicas that believe the one proxy in front of them."""
    podwire = Podwire(postgres, web=2, workers=1, trusted_proxies=1, drain_s=1)  # type: ignore[arg-type]
    try:
        podwire.start()
        yield podwire
    finally:
        podwire.stop()


@pytest.fixture
def client(site: Podwire, tmp_path: Path) -> Iterator[Client]:
    """A new person who knows only the proxy."""
    person = site.client()
    with running(tmp_path / "nginx", [web.port for web in site.web]) as nginx:
        yield Client([nginx.url], person.token, person.person)
    site.must_run()


@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_output_comes_at_once_and_watchers_come_back_where_they_were(client: Client, kind: str) -> None:
    script, expected = ticking(100)
    run = client.submit(f"{script}; ask go >/dev/null")
    watchers = [watch(client, run, kind, seed=seed, drop_every_s=0.3 if seed else None) for seed in range(6)]
    # Before the run ends: whatever holds answers back would hold these.
    for watcher in watchers:
        watcher.wait_for(b"line 100\n")
    (question,) = client.wait_question(run)
    client.answer(question["id"], "on").must(200)
    for watcher in watchers:
        watcher.finish(expected)
    assert watchers[0].connects == 1 and sum(watcher.connects for watcher in watchers) > len(watchers)


def test_a_stream_may_be_silent_for_longer_than_the_proxy_waits(client: Client) -> None:
    assert f"proxy_read_timeout {SILENCE_S}s;" in EXAMPLE
    run = client.submit("echo before; ask go >/dev/null; echo after")
    watchers = [watch(client, run, kind) for kind in ("ws", "sse")]
    (question,) = client.wait_question(run)
    for watcher in watchers:
        watcher.wait_event("question")
    silent_until = time.monotonic() + SILENCE_S + 5
    wait_until(lambda: time.monotonic() > silent_until or any(w.closes for w in watchers), "the time passed", SILENCE_S + 30, 0.5)
    client.answer(question["id"], "on").must(200)
    for watcher in watchers:
        watcher.finish(b"before\nafter\n")
    assert [watcher.connects for watcher in watchers] == [1, 1]


def test_watchers_of_a_replica_that_leaves_are_told_and_nobody_is_refused(site: Podwire, client: Client) -> None:
    script, expected = ticking(150)
    run = client.submit(f"{script}; ask go >/dev/null")
    watchers = [Watcher(client, run, "sse" if seed % 4 == 3 else "ws", seed=seed) for seed in range(24)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.wait_connected()
    leaving = site.web[0]
    leaving.send(signal.SIGTERM)
    statuses = [client.get("/v1/me").status]
    while leaving.running:
        statuses.append(client.get("/v1/me").status)
    # And while it is away: nobody waits for it.
    statuses += [client.post("/v1/runs", {"script": "true", "language": "bash"}).status for _ in range(6)]
    closes = [code for watcher in watchers if watcher.kind == "ws" for code in watcher.closes]
    # Only now may the run end, which closes streams in another way.
    (question,) = client.wait_question(run)
    client.answer(question["id"], "on").must(200)
    for watcher in watchers:
        watcher.finish(expected)
    leaving.start()
    site.wait_ready()
    assert closes and set(closes) == {1012}
    assert [refused.status for watcher in watchers for refused in watcher.refusals] == []
    assert set(statuses) <= {200, 201, 202}


def test_uploads_pass_and_what_is_too_large_is_refused_in_the_words_of_podwire(site: Podwire, client: Client) -> None:
    files = {f"part{number:02}": "x" * 250_000 + "end" for number in range(32)}
    run = client.submit("cat part* | wc -c; tail -c 3 part31", files=files)
    client.wait_end(run)
    assert client.output(run).split() == [b"8000096", b"end"]
    assert f"client_max_body_size {Settings.max_request_bytes // 1024**2}m;" in EXAMPLE
    told = client.post("/v1/runs", {"script": "true", "files": {"data.txt": "x" * 17 * 1024**2}}).refused(413, "too_large")
    own = Client([site.web[0].url], client.token).post("/v1/runs", {"files": {"data.txt": "x" * 17 * 1024**2}})
    assert {**told, "detail": ""} == {**own.refused(413, "too_large"), "detail": ""} and told["detail"]


def signed_in(client: Client, source: str, token: str, **headers: str) -> int:
    """Try to sign in from an address of this machine and return the status."""
    host, port = client.next_url().removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(source, 0))
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{host}:{port}"}
    try:
        connection.request("POST", "/sign-in", urlencode({"token": token}), {**form, **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def test_people_are_told_apart_by_their_own_address_whatever_they_say_it_is(client: Client) -> None:
    # The page accepts the browser's Origin: the address in front of the proxy, with its port.
    assert signed_in(client, "127.0.0.2", str(client.token)) == 303
    tries = [
        signed_in(client, "127.0.0.3", "wrong", **{"X-Forwarded-For": f"10.1.1.{number}", "X-Forwarded-Host": "evil.example"})
        for number in range(60)
    ]
    assert tries[0] == 401 and tries[-1] == 429
    assert signed_in(client, "127.0.0.4", "wrong") == 401
    assert signed_in(client, "127.0.0.2", str(client.token)) == 303


def test_numbers_are_not_for_everybody(client: Client) -> None:
    assert client.get("/metrics").status == 404


class Fickle:
    """Two replicas, the first asked of which breaks off after it has read the request; the other answers."""

    def __init__(self) -> None:
        """Listen on two ports until `close`."""
        self.read: list[bytes] = []
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.ports = [int(one.getsockname()[1]) for one in self._listeners]
        for one in self._listeners:
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    self.read.append(connection.recv(65536))
                    if len(self.read) > 1:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        """Stop."""
        for one in self._listeners:
            one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.parametrize(("method", "status", "asked"), [("GET", 200, 2), ("POST", 502, 1), ("PATCH", 502, 1)])
def test_what_a_replica_has_read_is_sent_again_only_where_that_is_harmless(
    tmp_path: Path, method: str, status: int, asked: int
) -> None:
    replicas = Fickle()
    try:
        with running(tmp_path / "nginx", replicas.ports) as nginx:
            assert Client([nginx.url]).request(method, "/v1/runs", b"" if method == "GET" else b"{}").status == status
    finally:
        replicas.close()
    assert len(replicas.read) == asked and all(one.startswith(method.encode()) for one in replicas.read)
