"""The processes of a benchmark: started on free ports of the loopback interface, measured, and ended by their pids.

Nothing here knows Podwire.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.servers import Postgres, Redis, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
GUNICORN = [str(BIN / "gunicorn"), "--worker-class", "gevent", "--workers", "1", "--worker-connections", "20000"]
OPEN_FILES = 65_536


def raise_open_files() -> int:
    """Allow as many open files as this user may have; children inherit it. Returns the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, OPEN_FILES),) * 2)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Server:
    """A server under test, its children included. Use as a context: it listens inside, and is gone afterwards."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], port: int) -> None:
        """Prepare; nothing runs yet."""
        self.name, self.port = name, port
        self._command, self._environment = list(command), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path(tempfile.mkdtemp(prefix="bench-log-")) / f"{name}.log"

    def __enter__(self) -> Server:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PODWIRE_")}
        environment = {**inherited, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", **self._environment}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} did not start:\n{self.tail()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        pids = self.pids()
        # What is measured is over: nobody needs a drain of thousands of sockets.
        for pid in [*pids[1:], *pids[:1]]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        self._process.wait(timeout=20)
        shutil.rmtree(self._log.parent, ignore_errors=True)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def pids(self) -> list[int]:
        """Return the pid of the server and those of its children."""
        if self._process is None:
            return []
        found = [self._process.pid]
        for pid in found:
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def memory(self) -> tuple[int, int]:
        """Return the RSS and the PSS of all its processes, in bytes."""
        return sum(_rollup(pid, "Rss") for pid in self.pids()), sum(_rollup(pid, "Pss") for pid in self.pids())

    def cpu_s(self) -> float:
        """Return the CPU time that all its processes have used."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def tail(self) -> str:
        """Return the end of its output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-25:])


class Writer:
    """The process that makes events (see writer.py). Use as a context."""

    def __init__(self, kind: str, redis_url: str, environment: Mapping[str, str]) -> None:
        """Prepare; nothing runs yet."""
        self._command = [sys.executable, "-m", "tests.bench.writer", kind, redis_url]
        self._environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", **environment}

    def __enter__(self) -> Writer:
        self._process = subprocess.Popen(
            self._command, env=self._environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, runs: Sequence[str], rate: float, seconds: float) -> None:
        """Make events for the runs in turn, so many in all per second, for so long; collect what became of it with `end`."""
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps({"runs": list(runs), "rate": rate, "seconds": seconds}) + "\n")
            self._process.stdin.flush()

    def through(self) -> bool:
        """Say whether `end` would not wait."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def end(self) -> tuple[int, float]:
        """Wait until it is through; return how many events were made, and in which time."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise SystemExit("the writer of events ended by itself")
        answer = json.loads(line)
        return answer["sent"], answer["seconds"]


class BenchRedis(Redis):
    """Redis as in production (append-only file), with room for a connection per socket."""

    def start(self) -> None:
        """Run it."""
        super().start()
        with self.client() as client:
            client.config_set("maxclients", min(30_000, raise_open_files() - 64))

    def used_bytes(self) -> int:
        """Return the memory that it uses."""
        with self.client() as client:
            return int(client.info("memory")["used_memory"])


class DurablePostgres(Postgres):
    """PostgreSQL that waits for the disk at each commit, unlike the one of the tests."""

    def start(self) -> None:
        """Run it until `stop`."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder, "fsync": "on"}
        command = [self._server, "-D", str(self._folder / "data"), *(f"-c{name}={value}" for name, value in settings.items())]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._user, cwd=self._folder, start_new_session=True
            )
        wait_until(self._answers, "PostgreSQL took connections")


def unused_port() -> int:
    """Return a free port."""
    return free_port()


def _rollup(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
