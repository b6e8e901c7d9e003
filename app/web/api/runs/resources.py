"""The shapes of what clients receive about runs, and how they are made from the domain's values. Nothing is looked up here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from app.domain.runs.attempts import AttemptPart
from app.domain.runs.evidence import phases
from app.domain.runs.run import Outcome, Run
from app.domain.runs.spec import RunSpec
from app.domain.runs.usage import Use
from app.service.queries import WaitReason
from app.web.api.shapes import Time


class OutcomeResource(BaseModel):
    """How a run ended."""

    reason: str
    message: str
    exit_code: int | None
    signal: str | None
    peak_memory_bytes: int | None
    cpu_seconds: float | None


class RunSummary(BaseModel):
    """A run, as lists and streams show it."""

    id: str
    status: str
    priority: str
    owner: str
    title: str
    image: str | None
    language: str | None
    stdin: bool
    labels: dict[str, str]
    attempt: int
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    deadline_at: Time | None
    queue_deadline_at: Time | None
    waiting_since: Time | None
    cancel_requested_at: Time | None
    cancelled_by: str | None
    outcome: OutcomeResource | None


class SpecResource(BaseModel):
    """What is run: sizes in bytes, times in seconds. Of secret environment variables there are only the names."""

    image: str | None
    command: list[str]
    script: str | None
    language: str | None
    args: list[str]
    env: dict[str, str]
    secrets: list[str]
    files: dict[str, str]
    cpu: float
    memory: int
    disk: int
    timeout: float
    queue_timeout: float
    grace: float
    output_limit: int
    network: bool
    stdin: bool
    labels: dict[str, str]
    retry: RetryResource | None


class ForecastResource(BaseModel):
    """It starts between these numbers of seconds from now, as things look."""

    after: float
    within: float


class WaitResource(BaseModel):
    """Why a run has not started, and where it stands in the queue (1 = next; null when it has a place and is starting).

    `expected` is null when nothing can be said.
    """

    position: int | None
    message: str
    expected: ForecastResource | None = None


class UseResource(BaseModel):
    """What the run uses at the moment: bytes, seconds so far, cores at work during the last seconds."""

    memory_bytes: int
    peak_memory_bytes: int
    memory_limit_bytes: int
    cpu_seconds: float
    cpu_cores: float | None
    at: Time


class PhasesResource(BaseModel):
    """When each phase of the present attempt began; null where it is not known, or there was none."""

    queued: Time
    dispatched: Time | None = None
    claimed: Time | None = None
    created: Time | None = None
    scheduled: Time | None = None
    pulled: Time | None = None
    started: Time | None = None
    first_byte: Time | None = None
    exited: Time | None = None
    ended: Time | None = None


class EvidenceResource(BaseModel):
    """What is known about where and when the present attempt ran: fewer facts where it never came that far."""

    node: str | None
    image: str | None
    memory_limit_bytes: int
    phases: PhasesResource


class RetryResource(BaseModel):
    """What was asked for the case that an attempt fails; `max_attempts` null: as the service is configured."""

    max_attempts: int | None
    reasons: list[str]


class AttemptResource(BaseModel):
    """One attempt; `outcome` is null until it has ended. Its output is the bytes [first_offset, last_offset) of the run's."""

    number: int
    started_at: Time | None
    ended_at: Time | None
    outcome: OutcomeResource | None
    node: str | None
    first_seq: int
    first_offset: int
    last_offset: int
    output: str


class RunResource(RunSummary):
    """A run with everything that was asked for. `use` is null unless it runs and something fresh is known."""

    spec: SpecResource
    attempts: list[AttemptResource]
    evidence: EvidenceResource
    use: UseResource | None = None
    wait: WaitResource | None = None
    dispatch: str | None = None


class RunPage(BaseModel):
    """Some runs, newest first; `next` is the address of the older ones."""

    items: list[RunSummary]
    next: str | None


class Accepted(BaseModel):
    """It was taken."""

    accepted: bool = True


def run_summary(run: Run) -> RunSummary:
    """Return the run as lists show it."""
    return RunSummary(**_summary(run))


def run_resource(
    run: Run,
    attempts: Sequence[AttemptPart],
    wait: WaitReason | None = None,
    dispatch: str | None = None,
    use: Use | None = None,
) -> RunResource:
    """Return the run with its spec and its attempts."""
    return RunResource(
        **_summary(run),
        spec=spec_resource(run.spec),
        attempts=[attempt_resource(run, part) for part in attempts],
        evidence=evidence_resource(run),
        use=use_resource(run, use) if use else None,
        wait=wait_resource(wait) if wait else None,
        dispatch=dispatch,
    )


def attempt_resource(run: Run, part: AttemptPart) -> AttemptResource:
    """Return one attempt of the run."""
    return AttemptResource(
        number=part.number,
        started_at=part.started_at,
        ended_at=part.ended_at,
        outcome=_outcome(part.outcome),
        node=part.evidence.node,
        first_seq=part.first_seq,
        first_offset=part.first_offset,
        last_offset=part.last_offset,
        output=f"/v1/runs/{run.id}/output?attempt={part.number}",
    )


def wait_resource(wait: WaitReason) -> WaitResource:
    """Return why a run waits."""
    expected = ForecastResource(after=wait.expected.after_s, within=wait.expected.within_s) if wait.expected else None
    return WaitResource(position=wait.position, message=wait.message, expected=expected)


def evidence_resource(run: Run) -> EvidenceResource:
    """Return what is known of the run's present attempt."""
    known = run.evidence
    times = phases(known, run.queued_at, run.ended_at)
    limit = run.spec.memory_bytes
    return EvidenceResource(node=known.node, image=known.image, memory_limit_bytes=limit, phases=PhasesResource(**times))


def use_resource(run: Run, use: Use) -> UseResource:
    """Return what the run uses at the moment."""
    return UseResource(
        memory_bytes=use.memory_bytes,
        peak_memory_bytes=use.peak_memory_bytes,
        memory_limit_bytes=run.spec.memory_bytes,
        cpu_seconds=use.cpu_seconds,
        cpu_cores=use.cpu_cores,
        at=use.at,
    )


def spec_resource(spec: RunSpec) -> SpecResource:
    """Return the spec under the names in which it was sent."""
    return SpecResource(
        image=spec.image,
        command=list(spec.command),
        script=spec.script,
        language=spec.language,
        args=list(spec.args),
        env=dict(spec.env),
        secrets=list(spec.secrets),
        files=dict(spec.files),
        cpu=spec.cpu,
        memory=spec.memory_bytes,
        disk=spec.disk_bytes,
        timeout=spec.timeout_s,
        queue_timeout=spec.queue_timeout_s,
        grace=spec.grace_s,
        output_limit=spec.output_limit_bytes,
        network=spec.network,
        stdin=spec.stdin,
        labels=dict(spec.labels),
        retry=RetryResource(max_attempts=spec.retry.max_attempts, reasons=list(spec.retry.reasons)) if spec.retry else None,
    )


def _summary(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "status": run.status.value,
        "priority": run.priority.value,
        "owner": run.owner_name,
        "title": run.spec.title,
        "image": run.spec.image,
        "language": run.spec.language,
        "stdin": run.spec.stdin,
        "labels": dict(run.spec.labels),
        "attempt": run.attempt,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "deadline_at": run.deadline_at,
        "queue_deadline_at": run.queue_deadline_at,
        "waiting_since": run.waiting_since,
        "cancel_requested_at": run.cancel_requested_at,
        "cancelled_by": run.cancelled_by,
        "outcome": _outcome(run.outcome),
    }


def _outcome(outcome: Outcome | None) -> OutcomeResource | None:
    if outcome is None:
        return None
    return OutcomeResource(
        reason=outcome.reason.value,
        message=outcome.message,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        peak_memory_bytes=outcome.peak_memory_bytes,
        cpu_seconds=outcome.cpu_seconds,
    )
