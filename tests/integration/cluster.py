"""A whole Podwire out of real processes: web replicas A, B, C on ports of their own, Celery workers, one database, one Redis.

Knows how processes are started, stopped and killed, and how people are made. What clients do is in client.py and watcher.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.cli.component_words import web_words, worker_words
from app.domain.person import Person, Role
from app.store.accounts.users import UserStore
from app.store.engine import make_engine
from app.store.schema.migrate import migrate
from tests.integration.client import Client
from tests.servers import Postgres, Redis, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
TAIL_LINES = 40
# Only a failure takes this long: several tests may start services of their own at the same time.
START_S = 240.0
QUICK = {
    "LEASE_S": "4",
    "RENEW_S": "1",
    "TICK_S": "0.5",
    "DRAIN_S": "0.5",
    "MAX_ACTIVE": "40",
    "MAX_ACTIVE_PER_OWNER": "40",
    "WORKER_CONCURRENCY": "64",
    "WEB_PROCESSES": "1",
}


class Process:
    """One server process and whatever it forks, in a process group of its own, so that nobody else is hit with it."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        """Prepare; `start` runs it. Its output goes to a file in the folder."""
        self.name = name
        self._command, self._environment = command, dict(environment)
        self.log = folder / f"{name}.log"
        self.popen: subprocess.Popen[bytes] | None = None
        self._logged_before = 0

    def variant(self, name: str, environment: Mapping[str, str]) -> Process:
        """Return another process of the same command, with some variables of its environment changed; not started."""
        return Process(f"{self.name}-{name}", self._command, {**self._environment, **environment}, self.log.parent)

    def start(self) -> None:
        """Run the command, without waiting until it serves."""
        with self.log.open("ab") as log:
            self._logged_before = log.tell()
            self.popen = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """True until the process that was started has ended."""
        return self.popen is not None and self.popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Signal the process, as an init system does."""
        if self.popen is not None:
            self.popen.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Signal the process and its children, as happens to a whole container."""
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        """End all of it at once, as a crash does."""
        self.send_group(signal.SIGKILL)
        self.wait()

    def stop(self, deadline_s: float = 20.0) -> int:
        """Ask it to end and return its exit code; kill it when it does not, and fail."""
        self.send(signal.SIGTERM)
        try:
            return self.wait(deadline_s)
        finally:
            self.kill()

    def wait(self, deadline_s: float = 20.0) -> int:
        """Wait for its end and return its exit code."""
        if self.popen is None:
            return 0
        return self.popen.wait(timeout=deadline_s)

    def logged(self, text: str) -> bool:
        """Say whether its output since its last start holds the text."""
        return self.log.exists() and text.encode() in self.log.read_bytes()[self._logged_before :]

    def tail(self) -> str:
        """Return the last lines of its output."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:])


class Web(Process):
    """One web replica: a gunicorn with one worker process."""

    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Say whether it takes requests."""
        with suppress(OSError):
            return Client([self.url]).get("/readyz").status == 200
        return False


class Podwire:
    """The whole service. Start it, use `client`, stop it; processes are `web[0]`, `web[1]`, …, `workers[0]`, …"""

    def __init__(
        self,
        postgres: Postgres,
        *,
        web: int = 3,
        workers: int = 2,
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        """Make a database and a Redis of its own. `settings` in lower case and `environment` are given to all processes."""
        self.folder = Path(tempfile.mkdtemp(prefix="pw-test-"))
        self.postgres, self.redis = postgres, Redis()
        self.database_url = postgres.create_database(f"podwire_{uuid.uuid4().hex}")
        migrate(self.database_url)
        self.environment = self._environment({name.upper(): str(value) for name, value in settings.items()}, environment or {})
        self.web = [self._make_web(name) for name in "ABCDEFGH"[:web]]
        self.workers = [self._make_worker(f"worker{number}") for number in range(1, workers + 1)]
        self._engine = make_engine(self.database_url, pool_size=1)
        self._users = UserStore(self._engine)

    def _environment(self, settings: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PODWIRE_")}
        own = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": "not a secret, only for tests: " + "x" * 32,
            "STATE_DIR": str(self.folder / "state"),
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {f"PODWIRE_{name}": value for name, value in {**QUICK, **own, **settings}.items()}
        return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDEVMODE": "", **given, **more}

    def _make_web(self, name: str) -> Web:
        port = free_port()
        web = Web(name, web_words(), {**self.environment, "PODWIRE_BIND": f"127.0.0.1:{port}"}, self.folder)
        web.port = port
        return web

    def _make_worker(self, name: str) -> Process:
        return Process(name, worker_words(), self.environment, self.folder)

    @property
    def processes(self) -> list[Process]:
        """Every process that is ours, web and workers."""
        return [*self.web, *self.workers]

    def start(self) -> None:
        """Start everything; returns when every replica is ready and every worker consumes."""
        self.redis.start()
        for process in self.processes:
            process.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until every replica is ready and every worker consumes."""
        for process in self.processes:
            wait_until(lambda one=process: self._serves(one), f"{process.name} was ready\n{process.tail()}", START_S)  # type: ignore[misc]

    def restart(self) -> None:
        """Ask every process to end, start all again, and wait until they are ready."""
        for process in self.processes:
            process.send(signal.SIGTERM)
        for process in self.processes:
            process.wait()
            process.start()
        self.wait_ready()

    def must_run(self) -> None:
        """Fail when a process has ended that nobody started again; start it, for the sake of the tests that follow."""
        dead = [process for process in self.processes if not process.running]
        for process in dead:
            process.start()
        self.wait_ready()
        if dead:
            raise RuntimeError(f"{', '.join(process.name for process in dead)} had ended")

    def _serves(self, process: Process) -> bool:
        if not process.running:
            raise RuntimeError(f"{process.name} ended by itself:\n{process.tail()}")
        return process.ready() if isinstance(process, Web) else process.logged(" ready.")

    def stop(self) -> None:
        """End everything that is ours, also the runs that go on, and delete all files."""
        for process in self.processes:
            process.send_group(signal.SIGCONT)
            process.send(signal.SIGTERM)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
        self.redis.remove()
        self._engine.dispose()
        kill_leftovers(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, name: str | None = None, role: Role = Role.USER) -> Client:
        """Return a client, spread over all replicas, of a new person."""
        return self.client_of(self.person(name, role))

    def person(self, name: str | None = None, role: Role = Role.USER) -> Person:
        """Make a person."""
        return self._users.create_user(name or f"user-{uuid.uuid4().hex[:12]}", role)

    def client_of(self, person: Person) -> Client:
        """Return a client of the person, with a token of its own."""
        token = self._users.create_token(person.id, "test")[0]
        return Client([web.url for web in self.web], token, person)

    def revoke_tokens(self, client: Client) -> None:
        """Make every token of the client's person worthless."""
        for token in self._users.list_tokens(client.person.id):
            self._users.revoke(token.id)

    def tails(self) -> str:
        """Return the last lines of every process, for a failed test's report."""
        return "\n".join(f"----- {process.name}\n{process.tail()}" for process in self.processes)


def kill_leftovers(folder: Path) -> None:
    """Kill the agents and programs of attempts below the folder: those whose working folder or command lies there.

    Raises: ValueError for a folder that is not clearly one of a test's own; nobody is killed then.
    """
    must_be_own(folder)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _belongs(entry, str(folder)):
            with suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def must_be_own(folder: Path) -> None:
    """Check that the folder lies in the folder for temporary files. An empty or short path would match everybody's processes.

    Raises: ValueError.
    """
    temporary = Path(tempfile.gettempdir())
    if not folder.is_absolute() or ".." in folder.parts or temporary not in folder.parents:
        raise ValueError(f"{str(folder)!r} is not a folder of this test's own")


def _belongs(process: Path, folder: str) -> bool:
    try:
        return os.readlink(process / "cwd").startswith(folder) or folder.encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False
