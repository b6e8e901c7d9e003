"""A stage for whole runs without processes: a real store in a file, a launcher that plays a script, supervisors that may die."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine, update

from app.agent.records.wire_format import Kind as Wire
from app.domain.errors import AttemptGone
from app.domain.person import Person
from app.domain.ports import Attempt, Record
from app.domain.queue.admission import Limits
from app.domain.runs.attempts import AttemptPart
from app.domain.runs.retry import Retries
from app.domain.runs.run import Priority, Run
from app.domain.runs.spec import RunSpec
from app.live.memory import MemoryEventLog
from app.live.uses import MemoryUses
from app.store.runs.attempts import Attempts
from app.store.schema.tables import runs as runs_table
from app.store.store import make_store
from app.supervise.artefact_storage import ArtefactStorage
from app.supervise.claim import supervise
from app.supervise.log.archiver import Archiver
from app.supervise.worker.leases import Leases
from app.supervise.worker.wakeups import Wakeups
from app.supervise.worker.worker_context import DatabaseClock, WorkerContext
from tests.unit.supervise.doubles import RUN_ID

STARTED = (Wire.STARTED, {"pid": 1})
ANN = Person("u1", "ann")


class Killed(BaseException):
    """The process is gone, as by SIGKILL."""


def exit_with(code: int, **more: object) -> tuple[Wire, dict[str, object]]:
    return Wire.EXIT, {"exit_code": code, "signal": None, "launch_error": None, **more}


@dataclass
class Play:
    """One attempt: what `launch` raises first, the records of its agent, whether anything is left after them."""

    records: list[tuple[Wire, dict[str, object] | bytes]] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    waits_for_word: bool = False
    may_have_begun: bool = False
    removed: int = 0
    launched: int = 0
    heard: bool = False


class PlayLink:
    """Gives all records after the position, then is gone."""

    def __init__(self, play: Play, position: int, on_start: Callable[[], None]) -> None:
        self._play, self._position, self._on_start = play, position, on_start
        self.sent: list[tuple[int, dict[str, object]]] = []

    def read(self, timeout_s: float) -> list[Record]:
        if self._play.waits_for_word:
            self._on_start()
        fresh = self._play.records[self._position :]
        if not fresh:
            raise AttemptGone()
        self._play.heard = self._play.heard or fresh[-1][0] == Wire.ACK
        first, self._position = self._position + 1, len(self._play.records)
        return [_record(kind, body, number) for number, (kind, body) in enumerate(fresh, first)]

    def send(self, kind: int, body: dict[str, object]) -> None:
        self.sent.append((kind, body))
        if kind == Wire.FINISH:
            self._play.records += [(Wire.STDOUT, b"late"), (Wire.ACK, {"id": body["id"], "ok": True})]

    def wake(self) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """Nothing is open."""


def _record(kind: Wire, body: dict[str, object] | bytes, position: int) -> Record:
    return Record(kind, 5.0, body if isinstance(body, bytes) else json.dumps(body).encode(), position)


class PlayLauncher:
    """Plays `plays[number]` for the attempt of that number."""

    def __init__(self, *plays: Play) -> None:
        self.plays = dict(enumerate(plays, 1))
        self.attempts: list[Attempt] = []
        self.links: list[PlayLink] = []

    def launch(self, attempt: Attempt) -> str:
        self.attempts.append(attempt)
        play = self.plays[attempt.number]
        if play.removed:
            raise AttemptGone()
        if play.refusals:
            raise play.refusals.pop(0)
        play.launched += 1
        return f"handle-{attempt.number}"

    def connect(self, attempt: Attempt, position: int, on_start: Callable[[], None] = lambda: None) -> PlayLink:
        play = self.plays[attempt.number]
        if play.removed:
            raise AttemptGone()
        self.links.append(PlayLink(play, position, on_start))
        return self.links[-1]

    def sent(self, kind: Wire) -> list[dict[str, object]]:
        """What was sent to the agents of this kind."""
        return [body for link in self.links for sent, body in link.sent if sent == kind]

    def remove(self, attempt: Attempt) -> bool:
        self.plays[attempt.number].removed += 1
        return self.plays[attempt.number].may_have_begun


class MortalAttempts(Attempts):
    """The store as seen by a process that dies before or after one of its writes."""

    def __init__(self, engine: Engine, dies: str = "") -> None:
        super().__init__(engine)
        self._dies = dies

    def retry(self, *words: object) -> Run | None:
        if self._dies == "before retry":
            raise Killed
        again = super().retry(*words)  # type: ignore[arg-type]
        if self._dies == "after retry":
            raise Killed
        return again


class Stage:
    """One run and everything around it."""

    def __init__(self, engine: Engine, *plays: Play, retries: Retries | None = None, **spec: object) -> None:
        self.engine, self.launcher, self.log = engine, PlayLauncher(*plays), MemoryEventLog()
        self.store = make_store(engine, "process")
        self.released: list[None] = []
        self.retries = retries or Retries(3, 4.0)
        self.keep_failed_s = 0.0
        self.artefact_storage: ArtefactStorage | None = None
        whole = RunSpec(**{"command": ("true",), **spec})  # type: ignore[arg-type]
        self.store.submissions.submit(RUN_ID, ANN, whole, Priority.HIGH, Limits(), secrets=dict.fromkeys(whole.secrets, "s3cret"))

    def context(self, dies: str = "", launch_within_s: float = 0.0) -> WorkerContext:
        store = replace(self.store, attempts=MortalAttempts(self.engine, dies))
        return WorkerContext(
            process_id="process",
            lease_s=20,
            max_questions=10,
            store=store,
            log=self.log,
            uses=MemoryUses(),
            launcher=self.launcher,
            leases=Leases(store.leases, "process", 20, 5),
            archiver=Archiver(),
            wakeups=Wakeups(),
            clock=DatabaseClock(store.clock.now),
            on_release=lambda: self.released.append(None),
            retries=self.retries,
            launch_within_s=launch_within_s,
            keep_failed_s=self.keep_failed_s,
            artefact_storage=self.artefact_storage,
        )

    def play(self, *deaths: str, launch_within_s: float = 0.0) -> Run:
        """Dispatch what is in the queue, wait or not, and supervise it, with a process that dies for each of `deaths`."""
        if self.run.not_before is not None:
            self.change(not_before=0.0)
        self.store.queue.dispatch_next(Limits())
        for dies in deaths:
            try:
                supervise(self.context(dies), RUN_ID)
            except Killed:
                self.change(lease_until=0.0)
        supervise(self.context(launch_within_s=launch_within_s), RUN_ID)
        return self.run

    def change(self, **columns: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(runs_table).values(**columns))

    @property
    def run(self) -> Run:
        run = self.store.runs.get(RUN_ID)
        assert run is not None
        return run

    @property
    def events(self) -> list[dict[str, object]]:
        """The archived log."""
        entries = self.store.log.read(RUN_ID, 0, 10_000)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        return [json.loads(entry.payload) for entry in entries]

    def statuses(self) -> list[object]:
        """What watchers were told of the run's status, with the number of the attempt."""
        told = [event for event in self.events if event["kind"] in ("status", "end")]
        return [(event["status"], event.get("attempt")) for event in told]

    @property
    def attempts(self) -> list[AttemptPart]:
        return self.store.attempts.former(RUN_ID)


def outputs(events: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(event["offset"], event["text"]) for event in events if event["kind"] == "output"]
