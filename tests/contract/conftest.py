"""Databases for the contract tests: SQLite files and a real PostgreSQL server of the session's own; a house of stores."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine, text

from app.domain.ids import new_run_id
from app.domain.person import Person, Role
from app.domain.queue.admission import Limits
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Priority, Reason, Run, Status
from app.domain.runs.spec import RunSpec
from app.store.engine import make_engine
from app.store.schema.migrate import migrate
from app.store.store import Store, make_store

T = TypeVar("T")


class PostgreSQL:
    """A server of its own on a unix socket, run as `postgres` when we are root. It keeps nothing safe from a power cut."""

    def __init__(self, binaries: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="podwire-pg-"))
        self._binaries = binaries
        self._as: list[str] = []
        self._numbers = count(1)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def start(self) -> None:
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        fast = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=120 -c shared_buffers=32MB"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"-c listen_addresses='' -k {self.folder} {fast}", "start")
        self._template = self._create("template0")
        migrate(self._template)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """Return the URL of a fresh database with all tables."""
        return self._create("database1")

    def empty_database(self) -> str:
        """Return the URL of a fresh database without any."""
        return self._create("template0")

    def _create(self, template: str) -> str:
        name = f"database{next(self._numbers)}"
        engine = make_engine(self._url("postgres"), pool_size=1)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        engine.dispose()
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._binaries / program), *arguments]
        # A server that lives on must not inherit our pipes.
        with (self.folder / "output").open("a+") as output:
            if subprocess.run(command, cwd=self.folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL).returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed: {output.read()}")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for the session. Missing: skipped, and a failure in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    binaries = found[-1] if found else Path(shutil.which("initdb") or "").parent
    if not (binaries / "initdb").exists():
        message = "POSTGRESQL IS MISSING: half of the store's contract is not tested (install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    server = PostgreSQL(binaries)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each test that asks for a database runs on both."""
    return str(request.param)


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database with all tables."""
    if dialect == "postgresql":
        return request.getfixturevalue("postgresql").database()
    shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "podwire.db")
    return f"sqlite:///{tmp_path}/podwire.db"


@pytest.fixture
def empty_database_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database without tables."""
    if dialect == "postgresql":
        return request.getfixturevalue("postgresql").empty_database()
    return f"sqlite:///{tmp_path}/podwire.db"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def other_engine(database_url: str) -> Iterator[Engine]:
    """A second process's way to the same database: it shares no pool and no lock with the first."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


ANN, BOB, ROOT = Person("u-ann", "ann"), Person("u-bob", "bob"), Person("u-root", "root", Role.ADMIN)


@dataclass(frozen=True)
class House:
    """The stores of one process, and short ways to runs in every state."""

    store: Store
    limits: Limits

    ann, bob, root = ANN, BOB, ROOT

    def queued(self, owner: Person = ANN, priority: Priority = Priority.NORMAL, **spec: object) -> Run:
        whole = RunSpec(**{"script": "print(1)", "language": "python", **spec})
        run, created, _ = self.store.submissions.submit(new_run_id(), owner, whole, priority, self.limits)
        assert created
        return run

    def claimed(self, owner: Person = ANN, process: str = "p1", lease_s: float = 60.0, **spec: object) -> Run:
        """A run that is `starting`, held by the process; the queue must be empty before."""
        run = self.queued(owner, **spec)
        dispatched = self.store.queue.dispatch_next(self.limits)
        assert dispatched and dispatched.id == run.id
        claimed = self.store.leases.claim(run.id, process, lease_s)
        assert claimed
        return claimed

    def running(self, owner: Person = ANN, **spec: object) -> Run:
        return self.step(self.claimed(owner, **spec), Step.START)

    def step(self, run: Run, step: Step) -> Run:
        return self.store.runs.save(run, transition(run, step, self.store.clock.now()))

    def ended(self, run: Run, status: Status = Status.CANCELLED) -> Run:
        """Finish the run without any chunk."""
        outcome = Outcome(status, Reason.CANCELLED_BY_USER, "Cancelled by ann.")
        stored = self.store.runs.get(run.id)
        assert stored
        return self.store.runs.finish(
            run, transition(run, Step.END, self.store.clock.now(), outcome=outcome), None, stored.archived
        )

    def counts(self, owner: Person = ANN) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """(queued, active, waiting) of the owner and of all."""
        of_owner, everyone = self.store.counts.of_owner(owner.id)
        return (
            (of_owner.queued, of_owner.active, of_owner.waiting),
            (everyone.queued, everyone.active, everyone.waiting),
        )


def house_on(engine: Engine, limits: Limits | None = None) -> House:
    return House(make_store(engine, "process"), limits or Limits())


@pytest.fixture
def house(engine: Engine) -> House:
    return house_on(engine)


@pytest.fixture
def other_house(other_engine: Engine) -> House:
    return house_on(other_engine)


@pytest.fixture
def at_once() -> Callable[..., list[object]]:
    """Call functions in as many threads at the same moment; return what each returned or raised, in their order."""

    def run(*functions: Callable[[], object]) -> list[object]:
        barrier = threading.Barrier(len(functions))

        def one(function: Callable[[], object]) -> object:
            barrier.wait(10)
            try:
                return function()
            except Exception as error:
                return error

        with ThreadPoolExecutor(len(functions)) as pool:
            return list(pool.map(one, functions))

    return run
