"""The collaborators that use cases work with, in one frozen value. Tests replace fields; wiring fills them."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain.ports import Collector, EventLog, Launcher, Nudges, Publisher, Uses
from app.domain.queue.admission import Limits
from app.domain.runs.artefacts import ArtefactRules
from app.domain.runs.retry import Retries
from app.domain.runs.run import Priority
from app.domain.runs.spec import SpecLimits
from app.domain.tracing import NoTracer, Tracer
from app.forms.checker import FormChecker
from app.store.artefacts.workspaces import Workspaces
from app.store.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a use case may need. `process_id` is a UUID of this process; times in seconds.

    Without `workspaces` this process sees no storage of artefacts.
    """

    process_id: str
    store: Store
    log: EventLog
    uses: Uses
    nudges: Nudges
    publisher: Publisher
    launcher: Launcher
    limits: Limits
    spec_limits: SpecLimits
    max_questions: int
    lease_s: float
    renew_s: float
    tick_s: float
    retries: Retries = field(default_factory=Retries)
    launch_within_s: float = 120.0
    keep_failed_s: float = 0.0
    keep_runs_s: float = 0.0
    collector: Collector | None = None
    workspaces: Workspaces | None = None
    artefact_rules: ArtefactRules = field(default_factory=ArtefactRules)
    highest_priority: Priority = Priority.CRITICAL
    tracer: Tracer = field(default_factory=NoTracer)
    forms: FormChecker = field(default_factory=FormChecker)
