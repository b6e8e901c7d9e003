"""Everything that SQL keeps, as parts that share an engine: `store.leases.claim(…)` says where a statement lives.

Each public method of a part is one transaction. What several parts need are functions that take a connection.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from app.store.accounts.users import UserStore
from app.store.artefacts.artefacts import ArtefactStore
from app.store.clock import Clock
from app.store.counters import Counters
from app.store.log.chunks import ChunkStore
from app.store.queue.audit import AuditLog
from app.store.queue.counts import RunCounts
from app.store.queue.lanes import Lanes
from app.store.queue.limits import LimitSettings
from app.store.queue.queue import Queue
from app.store.queue.queue_admin import QueueAdmin
from app.store.runs.attempts import Attempts
from app.store.runs.form_checks import FormChecks
from app.store.runs.inputs import InputStore
from app.store.runs.leases import RunLeases
from app.store.runs.questions import QuestionStore
from app.store.runs.retention import Retention
from app.store.runs.run_secrets import RunSecrets
from app.store.runs.runs import RunStore
from app.store.runs.submissions import Submissions
from app.store.ticks import Ticks


@dataclass(frozen=True, slots=True)
class Store:
    """The parts. Every method of each raises StoreUnavailable when the database cannot be reached."""

    runs: RunStore
    submissions: Submissions
    attempts: Attempts
    leases: RunLeases
    questions: QuestionStore
    form_checks: FormChecks
    inputs: InputStore
    secrets: RunSecrets
    retention: Retention
    queue: Queue
    queue_admin: QueueAdmin
    lanes: Lanes
    counts: RunCounts
    limits: LimitSettings
    audit: AuditLog
    log: ChunkStore
    artefacts: ArtefactStore
    users: UserStore
    counters: Counters
    ticks: Ticks
    clock: Clock


def make_store(engine: Engine, process_id: str) -> Store:
    """Return the store on the engine's database. The counters of a process are told from others' by `process_id`."""
    return Store(
        runs=RunStore(engine),
        submissions=Submissions(engine),
        attempts=Attempts(engine),
        leases=RunLeases(engine),
        questions=QuestionStore(engine),
        form_checks=FormChecks(engine),
        inputs=InputStore(engine),
        secrets=RunSecrets(engine),
        retention=Retention(engine),
        queue=Queue(engine),
        queue_admin=QueueAdmin(engine),
        lanes=Lanes(engine),
        counts=RunCounts(engine),
        limits=LimitSettings(engine),
        audit=AuditLog(engine),
        log=ChunkStore(engine),
        artefacts=ArtefactStore(engine),
        users=UserStore(engine),
        counters=Counters(engine, process_id),
        ticks=Ticks(engine),
        clock=Clock(engine),
    )
