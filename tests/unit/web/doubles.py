"""A web application on a database file of its own, with doubles for all that would need a server: Redis, workers, the hub."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flask import Flask
from flask.testing import FlaskClient

from app.domain.errors import LiveUnavailable, NotFound
from app.domain.person import Person, Role
from app.domain.queue.admission import Limits
from app.domain.runs.events import Position
from app.domain.runs.run import Priority
from app.live.batch import Batch, Reset
from app.live.hub import Hub
from app.live.memory import MemoryEventLog, MemoryNudges
from app.live.uses import MemoryUses
from app.service.services import Services
from app.store.artefacts.workspaces import Workspaces
from app.store.engine import make_engine
from app.store.schema.migrate import migrate
from app.store.store import make_store
from app.web.factory import create_app
from config.settings import Settings

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class Publishing:
    """Notes what would go to the workers; refuses while `down`."""

    down: bool = False
    sent: list[str] = field(default_factory=list)

    def publish(self, run_id: str, priority: int, shown: str, traceparent: str | None = None) -> None:
        if self.down:
            raise LiveUnavailable()
        self.sent.append(run_id)


class ScriptedCursor:
    """Brings what the test put in, then nothing until it is closed."""

    def __init__(self, position: Position, items: Sequence[Batch | Reset]) -> None:
        self.position = position
        self.closed = threading.Event()
        self._items = list(items)

    def next(self, timeout_s: float) -> Batch | Reset | None:
        if self._items:
            return self._items.pop(0)
        self.closed.wait(timeout_s)
        return None

    def close(self) -> None:
        self.closed.set()


class ScriptedHub:
    """Hands out one cursor after the other; `items` is what each brings."""

    def __init__(self) -> None:
        self.degraded = False
        self.items: list[Batch | Reset] = []
        self.cursors: list[ScriptedCursor] = []
        self.missing = False

    def watch(self, run_id: str, position: Position) -> ScriptedCursor:
        if self.missing:
            raise NotFound()
        self.cursors.append(ScriptedCursor(position, self.items))
        return self.cursors[-1]

    @property
    def open(self) -> int:
        return sum(not cursor.closed.is_set() for cursor in self.cursors)


def make_settings(folder: Path, **values: Any) -> Settings:
    url = f"sqlite:///{folder / 'podwire.db'}"
    return Settings(database_url=url, redis_url="redis://127.0.0.1:1/0", secret_key=SECRET, state_dir=str(folder), **values)


def make_services(settings: Settings, publisher: Publishing, limits: Limits) -> Services:
    migrate(settings.database_url)
    engine = make_engine(settings.database_url)
    return Services(
        process_id="process",
        store=make_store(engine, "process"),
        log=MemoryEventLog(),
        uses=MemoryUses(),
        nudges=MemoryNudges(),
        publisher=publisher,
        launcher=cast(Any, None),
        workspaces=Workspaces(Path(settings.workspaces_dir)) if settings.workspaces_dir else None,
        artefact_rules=settings.artefact_rules(),
        limits=limits,
        spec_limits=settings.spec_limits(),
        max_questions=10,
        lease_s=20,
        renew_s=5,
        tick_s=2,
        highest_priority=Priority(settings.max_priority),
    )


class Site:
    """An application and three people: Ann, Bob and an admin."""

    def __init__(self, folder: Path, limits: Limits | None = None, **settings: Any) -> None:
        self.settings = make_settings(folder, **settings)
        self.publisher = Publishing()
        # Nothing leaves the queue unless a test wants it to.
        self.services = make_services(self.settings, self.publisher, limits or Limits(100, 0, 1000, 0))
        self.hub = ScriptedHub()
        self.app: Flask = create_app(self.services, cast(Hub, self.hub), self.settings)
        self.people: dict[str, Person] = {}
        self.tokens: dict[str, str] = {}
        for name, role in (("ann", Role.USER), ("bob", Role.USER), ("root", Role.ADMIN)):
            self.people[name] = self.services.store.users.create_user(name, role)
            self.tokens[name], _ = self.services.store.users.create_token(self.people[name].id, "test")

    def client(self, name: str | None = "ann") -> FlaskClient:
        client = self.app.test_client()
        if name:
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {self.tokens[name]}"
        return client

    def submit(self, name: str = "ann", **fields: Any) -> dict[str, Any]:
        body = {"script": "echo hello", "language": "bash", **fields}
        answer = self.client(name).post("/v1/runs", json=body)
        if answer.status_code not in (201, 202):
            raise AssertionError(answer.text)
        return cast(dict[str, Any], answer.get_json())
