"""Podwire's side of the benchmarks: its database, its web process, its runs. Everything is the real code with real servers."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from app.domain.ids import new_run_id
from app.domain.queue.admission import Limits
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Priority
from app.domain.runs.spec import RunSpec
from app.store.accounts.users import UserStore
from app.store.engine import make_engine
from app.store.schema.migrate import migrate
from app.store.store import make_store
from tests.bench.servers import BIN, Server, unused_port

MANY = 10_000_000


class Stack:
    """One Podwire over a Redis that is there already, and over a database that is, or a new SQLite file."""

    def __init__(self, redis_url: str, database_url: str | None = None, **settings: object) -> None:
        """Make the tables and one person with a token. `settings` in lower case are given to every process."""
        self._folder = Path(tempfile.mkdtemp(prefix="bench-"))
        database_url = database_url or f"sqlite:///{self._folder / 'podwire.db'}"
        migrate(database_url)
        self.engine = make_engine(database_url)
        users = UserStore(self.engine)
        self.person = users.create_user("bench-" + uuid4().hex[:8])
        self.token = users.create_token(self.person.id, "bench")[0]
        own: dict[str, object] = {
            "database_url": database_url,
            "redis_url": redis_url,
            "secret_key": "only for a benchmark on the loopback interface",
            "state_dir": self._folder / "state",
            "web_processes": 1,
            "max_sockets": 20_000,
            "max_sockets_per_user": 20_000,
            "max_queue": MANY,
            "max_pending_per_owner": MANY,
            "log_level": "WARNING",
        }
        self.environment = {f"PODWIRE_{name.upper()}": str(value) for name, value in {**own, **settings}.items()}
        self.environment["PATH"] = f"{BIN}:/usr/local/bin:/usr/bin:/bin"

    def web(self) -> Server:
        """Return the web server, with one process."""
        port = unused_port()
        command = [str(BIN / "gunicorn"), "-c", "python:config.gunicorn"]
        return Server("podwire", command, {**self.environment, "PODWIRE_BIND": f"127.0.0.1:{port}"}, port)

    def worker(self) -> Worker:
        """Return a worker."""
        command = [sys.executable, "-m", "celery", "-A", "tasks.celery_app", "worker", "--pool", "threads"]
        # It says on this level that it is ready.
        environment = {**self.environment, "PODWIRE_LOG_LEVEL": "INFO"}
        return Worker("worker", [*command, "--without-gossip", "--without-mingle"], environment, 0)

    def headers(self) -> list[str]:
        """Return the request headers of the person."""
        return [f"Authorization: Bearer {self.token}"]

    def running(self, count: int) -> list[str]:
        """Store so many runs that are being supervised by a process which does nothing else; return their ids."""
        store, found = make_store(self.engine, "bench"), []
        for _ in range(count):
            run, *_ = store.submissions.submit(
                new_run_id(), self.person, RunSpec(command=("true",)), Priority.NORMAL, Limits(MANY, MANY, MANY, MANY)
            )
            run = store.runs.save(run, transition(run, Step.DISPATCH, run.created_at))
            run = store.leases.claim(run.id, "bench", 86_400.0) or run
            store.runs.save(run, transition(run, Step.START, run.created_at))
            found.append(run.id)
        return found

    def close(self) -> None:
        """Close the connections and delete the files."""
        self.engine.dispose()
        shutil.rmtree(self._folder, ignore_errors=True)


class Worker(Server):
    """A worker; it is up once it says so."""

    def _listens(self) -> bool:
        return " ready." in self.tail()
