"""What people may see: runs, their output, their questions, the queue. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from app.domain.errors import NotFound
from app.domain.person import Person, visible
from app.domain.queue.admission import explain_start, explain_wait
from app.domain.queue.forecast import Forecast, forecast, in_words
from app.domain.queue.queue_positions import QueuePositions
from app.domain.runs.attempts import AttemptPart, all_attempts
from app.domain.runs.question import Question
from app.domain.runs.retry import explain_again
from app.domain.runs.run import Priority, Run, Status
from app.domain.runs.usage import Use
from app.service.services import Services


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A queued run and its 1-based position."""

    run: Run
    position: int


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a run waits, as a sentence, and where it stands in the queue (1-based; None when it has left it)."""

    position: int | None
    message: str
    expected: Forecast | None = field(default=None, compare=False)


def show(services: Services, person: Person, run_id: str) -> Run:
    """Return the run. Raises: NotFound when there is none or it is not theirs."""
    return visible(person, services.store.runs.get(run_id))


def list_runs(
    services: Services,
    person: Person,
    *,
    statuses: Iterable[Status] = (),
    label: tuple[str, str] | None = None,
    priority: Priority | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Run]:
    """Return the runs that the person may see, newest first, older than sequence `before`."""
    owner = None if person.is_admin else person.id
    return services.store.runs.list(owner, statuses=list(statuses), label=label, priority=priority, before=before, limit=limit)


def queue(services: Services, person: Person, limit: int = 100) -> list[QueueItem]:
    """Return the queued runs that the person may see, in the order in which they start, with their true positions."""
    owner = None if person.is_admin else person.id
    return [QueueItem(run, position) for position, run in services.store.queue.first(limit, owner, services.limits.ageing_s)]


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """What the places and forecasts of many runs are made of: the order of the whole queue, and how long runs took lately."""

    positions: QueuePositions
    durations: tuple[float, ...]


def queue_snapshot(services: Services) -> QueueSnapshot:
    """Return how the queue stands now. It costs a look at all of it."""
    return QueueSnapshot(services.store.queue.positions(services.limits.ageing_s), services.store.queue.recent_durations())


def wait_reason(services: Services, run: Run, now: QueueSnapshot | None = None) -> WaitReason | None:
    """Return why the run has not started, by a snapshot that the caller has or a new one; None when nothing is in its way."""
    if run.status is Status.STARTING:
        why = explain_start(run, services.store.clock.now())
        return WaitReason(None, why) if why else None
    if run.status is not Status.QUEUED:
        return None
    position = services.store.queue.position(run, services.limits.ageing_s, now.positions if now else None)
    if position == 0:
        return None
    if again := _again(services, run):
        return WaitReason(position, again)
    found = services.store.counts.start_conditions(run, services.limits)
    why = explain_wait(position, found.limits, found.owner, found.everyone, found.group, found.full_label)
    durations = now.durations if now else services.store.queue.recent_durations()
    free = max(0, found.limits.active - found.everyone.active)
    expected = None if found.everyone.paused else forecast(position, found.limits.active, free, durations)
    return WaitReason(position, f"{why}; expected to start {in_words(expected)}" if expected else why, expected)


def _again(services: Services, run: Run) -> str | None:
    """Say when the next attempt starts, while it is too early for it."""
    in_s = run.not_before - services.store.clock.now() if run.not_before is not None else 0.0
    former = former_attempts(services, run) if in_s > 0 else []
    if not former or former[-1].outcome is None:
        return None
    return explain_again(run.attempt, services.retries.attempts(run.spec.retry), in_s, former[-1].outcome.reason)


def attempts(services: Services, run: Run) -> list[AttemptPart]:
    """Return the run's attempts, the present one last."""
    return all_attempts(run, former_attempts(services, run))


def former_attempts(services: Services, run: Run) -> list[AttemptPart]:
    """Return the attempts before the present one."""
    return services.store.attempts.former(run.id) if run.attempt > 1 else []


def use_of(services: Services, run: Run) -> Use | None:
    """Return what the run uses at the moment; None when it does not run, or nothing fresh is known."""
    if run.status not in (Status.RUNNING, Status.WAITING, Status.STOPPING):
        return None
    use = services.uses.get(run.id)
    return use if use is not None and use.attempt == run.attempt else None


def questions(services: Services, person: Person, run_id: str) -> list[Question]:
    """Return all questions of a run. Raises: NotFound."""
    show(services, person, run_id)
    return services.store.questions.of_run(run_id)


def open_questions(services: Services, person: Person) -> list[Question]:
    """Return the open questions that the person may answer."""
    return services.store.questions.open_for(person)


def output(services: Services, run: Run, start: int, stop: int) -> Iterator[bytes]:
    """Return the recorded output bytes [start, stop)."""
    return services.store.log.output(run.id, start, stop)


def output_span(services: Services, run: Run, attempt: int | None = None) -> tuple[int, int]:
    """Return where the recorded output begins and ends, in bytes: all of it, or what one attempt wrote. Raises: NotFound."""
    size = services.store.log.output_size(run.id)
    if attempt is None:
        return 0, size
    if not 1 <= attempt <= run.attempt:
        raise NotFound(f"The run has no attempt {attempt}.")
    part = attempts(services, run)[attempt - 1]
    # What the present attempt wrote meanwhile counts, too.
    return part.first_offset, part.last_offset if attempt < run.attempt else size
