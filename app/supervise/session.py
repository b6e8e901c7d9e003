"""The rules of one supervised attempt, sans-IO: agent records, the run's row and the clock go in, what to do comes out.

The shell around it (supervisor.py) reads, sends and stores; nothing here does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from app.agent.records.wire_format import Kind as Wire
from app.domain.bounded_json import read_json
from app.domain.errors import InvalidInput, NotJson, RunEnded
from app.domain.humanize import size
from app.domain.ports import Record
from app.domain.runs.events import Kind, end_fields, output_fields
from app.domain.runs.lifecycle import Step, cancellation
from app.domain.runs.question import Asked, Question, QuestionKind, QuestionState, parse_asked
from app.domain.runs.run import Outcome, Reason, Run, Status
from app.domain.runs.spec import RunSpec
from app.domain.runs.usage import Use
from app.supervise.attempt_evidence import AttemptEvidence, use_of

KILL_AGAIN_S = 2.0
GIVE_UP_AFTER_KILL_S = 20.0
_NUMBER = re.compile(rb'\{\s{0,9}"number":\s{0,9}(\d{1,9})\b')


@dataclass(frozen=True, slots=True)
class WriteEvent:
    """Add an event to the log. `spool` is the agent's position after the record it came from."""

    kind: Kind
    fields: dict[str, object]
    time: float
    spool: int | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class AskQuestion:
    """Store the question (harmless when it is there already), then write its event at `spool`."""

    asked: Asked
    time: float
    spool: int


@dataclass(frozen=True, slots=True)
class CheckForm:
    """Find out whether the form's default fits its schema; then ask, or refuse the question."""

    ask: AskQuestion


@dataclass(frozen=True, slots=True)
class AnnounceAnswer:
    """The agent has taken the reply to question `number`: write the answer event at `spool`."""

    number: int
    time: float
    spool: int


@dataclass(frozen=True, slots=True)
class SendCommand:
    """Send a command to the agent."""

    kind: Wire
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class ChangeStatus:
    """Apply a step of the lifecycle and save it."""

    step: Step
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The agent holds the command with this id for good."""

    id: str


@dataclass(frozen=True, slots=True)
class AttemptUpdate:
    """Something new is known of the attempt: what it uses now, for everyone to see, or (None) more evidence, to be stored."""

    use: Use | None = None


@dataclass(frozen=True, slots=True)
class HeldUp:
    """The start waits for something else than before: a sentence, None for nothing."""

    why: str | None


@dataclass(frozen=True, slots=True)
class End:
    """The attempt is over: write the outcome. `withheld_bytes` were written by the program beyond the output cap.

    `never_began`: it is certain that the program did not. `hopeless`: another attempt would end the same. `for_good`: there
    must be none. `left_nothing`: its agent saw that there are no artefacts.
    """

    outcome: Outcome
    withheld_bytes: int = 0
    never_began: bool = False
    hopeless: bool = False
    for_good: bool = False
    left_nothing: bool = False


Asking = AskQuestion | CheckForm
Action = WriteEvent | Asking | AnnounceAnswer | SendCommand | ChangeStatus | Acknowledged | AttemptUpdate | HeldUp | End


class Session:
    """What one supervisor knows of its attempt. `offset` is the run's output so far, in bytes."""

    def __init__(self, run: Run, offset: int, evidence: AttemptEvidence | None = None) -> None:
        """Continue where the log is."""
        self.run = run
        self.evidence = evidence or AttemptEvidence(run)
        self.offset = offset
        self._kills = 0

    def record(self, record: Record) -> list[Action]:
        """Take one message of the agent, or of the link."""
        changed = self.evidence.observe(record, self.offset)
        if record.kind in (Wire.STDOUT, Wire.STDERR):
            return [self._output(record)]
        if record.kind == Wire.QUESTION:
            return self._question(record)
        body = json.loads(record.payload)
        if record.kind == Wire.STARTED:
            fields: dict[str, object] = {"status": Status.RUNNING.value, "attempt": self.run.attempt}
            started = [ChangeStatus(Step.START)] if self.run.status is Status.STARTING else []
            return [*started, WriteEvent(Kind.STATUS, fields, record.time, record.position)]
        if record.kind == Wire.TAKEN:
            refused = body.get("state") == "refused"
            return [] if refused else [AnnounceAnswer(int(body["number"]), record.time, record.position)]
        if record.kind == Wire.NOTICE:
            return [WriteEvent(Kind.NOTICE, body, record.time, record.position)]
        if record.kind == Wire.ACK:
            return [Acknowledged(str(body["id"]))] if body.get("ok", True) else []
        if record.kind == Wire.USE:
            use = use_of(record, self.run)
            return [AttemptUpdate(use)] if use else []
        if record.kind in (Wire.EVIDENCE, Wire.HELD):
            return self._link_record(record, body, changed)
        if record.kind == Wire.EXIT:
            return [self._end(body)]
        return []

    def _link_record(self, record: Record, body: dict[str, str | None], changed: bool) -> list[Action]:
        starting = self.run.status is Status.STARTING
        if record.kind == Wire.EVIDENCE:
            # Until the program has started, its START is still to be saved, and carries this.
            return [AttemptUpdate()] if changed and not starting else []
        return [HeldUp(body["why"])] if starting and body["why"] != self.run.held_up else []

    def _end(self, body: dict[str, object]) -> End:
        withheld = body.get("withheld_bytes")
        return End(
            self._outcome(body),
            withheld if isinstance(withheld, int) else 0,
            never_began=body.get("began") is False,
            hopeless=bool(body.get("hopeless") or body.get("launch_error")),
            left_nothing=body.get("artefacts") is False,
        )

    def _output(self, record: Record) -> WriteEvent:
        stream = "stdout" if record.kind == Wire.STDOUT else "stderr"
        fields = output_fields(stream, self.offset, record.payload)
        self.offset += len(record.payload)
        return WriteEvent(Kind.OUTPUT, fields, record.time, record.position, len(record.payload))

    def _question(self, record: Record) -> list[Action]:
        try:
            body = read_json(record.payload, nul=True)
            asked = parse_asked(body if isinstance(body, dict) else {})
        except (NotJson, InvalidInput) as error:
            return refuse(_number_of(record.payload), error.code, error.detail, record.time, record.position)
        ask = AskQuestion(asked, record.time, record.position)
        if asked.kind is not QuestionKind.FORM or asked.default is None:
            return [ask]
        if self.run.status is Status.STOPPING:
            # Nobody will answer it, and the checks of many would hold up the end.
            return refuse(asked.number, RunEnded.code, "The run is being ended.", record.time, record.position)
        return [CheckForm(ask)]

    def watch(self, row: Run, now: float) -> list[Action]:
        """Compare with the run's row and the database's clock: cancellation, the timeout, a stop that takes too long."""
        self.run = replace(self.run, cancel_requested_at=row.cancel_requested_at, cancelled_by=row.cancelled_by)
        if self.run.status is Status.STOPPING:
            return self._insist(now)
        if row.cancel_requested_at is not None:
            if self.run.status is Status.STARTING and self.run.held_up is not None and self.run.let_go_at is None:
                # It waits for a place and has no word to start: there is no program to be asked first.
                return [End(cancellation(row), never_began=True)]
            return self._stop(cancellation(row).reason)
        if self.run.status is Status.RUNNING and self.run.deadline_at is not None and now > self.run.deadline_at:
            return self._stop(Reason.RUN_TIMEOUT)
        return []

    def _stop(self, reason: Reason) -> list[Action]:
        return [ChangeStatus(Step.STOP, reason), SendCommand(Wire.SIGNAL, {"id": "stop-term", "signal": "TERM"})]

    def _insist(self, now: float) -> list[Action]:
        late_s = now - (self.run.stopping_since or now) - self.run.spec.grace_s
        if late_s > GIVE_UP_AFTER_KILL_S:
            return [End(self._stopped())]
        if late_s >= self._kills * KILL_AGAIN_S:
            self._kills += 1
            return [SendCommand(Wire.SIGNAL, {"id": f"stop-kill-{self._kills}", "signal": "KILL"})]
        return [] if late_s >= 0 else [SendCommand(Wire.SIGNAL, {"id": "stop-term", "signal": "TERM"})]

    def waits(self, open_questions: int) -> list[Action]:
        """Bring the status in line with the number of questions that are still open."""
        if open_questions and self.run.status is Status.RUNNING:
            return [ChangeStatus(Step.WAIT)]
        if not open_questions and self.run.status is Status.WAITING:
            return [ChangeStatus(Step.RESUME)]
        return []

    def lost(self) -> End:
        """Return the end of an attempt whose agent is gone without having recorded an exit."""
        if self.run.status is Status.STOPPING:
            return End(self._stopped())
        return End(
            Outcome(
                Status.FAILED, Reason.AGENT_LOST, "The run's process and its agent disappeared, so how it ended is not known."
            )
        )

    def _outcome(self, exit_record: dict[str, object]) -> Outcome:
        code, signal = exit_record.get("exit_code"), exit_record.get("signal")
        outcome = self._stopped() if self.run.status is Status.STOPPING else _ended(exit_record, self.run.spec)
        memory, cpu = exit_record.get("peak_memory_bytes"), exit_record.get("cpu_seconds")
        return replace(
            outcome,
            exit_code=code if isinstance(code, int) else None,
            signal=str(signal) if signal else None,
            peak_memory_bytes=memory if isinstance(memory, int) else None,
            cpu_seconds=float(cpu) if isinstance(cpu, int | float) else None,
        )

    def _stopped(self) -> Outcome:
        if self.run.stop_reason is Reason.RUN_TIMEOUT:
            message = f"It ran for longer than its timeout of {self.run.spec.timeout_s:g} seconds and was stopped."
            return Outcome(Status.TIMED_OUT, Reason.RUN_TIMEOUT, message)
        return cancellation(self.run)


def _ended(exit_record: dict[str, object], spec: RunSpec) -> Outcome:
    code, signal = exit_record.get("exit_code"), exit_record.get("signal")
    if exit_record.get("reason") in _NAMED:
        return _named(Reason(str(exit_record["reason"])), exit_record, spec)
    if exit_record.get("launch_error"):
        return Outcome(Status.FAILED, Reason.LAUNCH_FAILED, str(exit_record["launch_error"])[:1000])
    if signal:
        return Outcome(Status.FAILED, Reason.SIGNALLED, f"The program was ended by signal {signal}.")
    if code == 0:
        return Outcome(Status.SUCCEEDED, Reason.COMPLETED, "The program ended normally.")
    return Outcome(Status.FAILED, Reason.NON_ZERO_EXIT, f"The program ended with exit code {code}.")


# Ends that are known to whoever ran the attempt, not to the program: an agent or a link names them.
_NAMED = {
    Reason.OOM_KILLED: "The program needed more memory than its limit of {memory}{peak} and was ended.",
    Reason.DISK_LIMIT: "The program used more disk than its limit and was ended.",
    Reason.EVICTED: "The program was ended because its node needed the place.",
    Reason.NODE_LOST: "The node that the program ran on is gone.",
    Reason.POD_DELETED: "The program was ended because somebody deleted its pod.",
    Reason.IMAGE_PULL_FAILED: "The image could not be had.",
    Reason.INVALID_IMAGE: "The image's name is not valid.",
    Reason.UNSCHEDULABLE: "No node had room for it.",
    Reason.LAUNCH_FAILED: "It could not be started.",
    Reason.AGENT_LOST: "The agent beside the program disappeared, so how the program ended is not known.",
    Reason.RUN_TIMEOUT: "It ran for longer than it may and was stopped.",
}


def _named(reason: Reason, exit_record: dict[str, object], spec: RunSpec) -> Outcome:
    peak = exit_record.get("peak_memory_bytes")
    held = f" (at most it held {size(peak)})" if isinstance(peak, int) else ""
    message = str(exit_record.get("message") or _NAMED[reason].format(memory=size(spec.memory_bytes), peak=held))
    return Outcome(Status.TIMED_OUT if reason is Reason.RUN_TIMEOUT else Status.FAILED, reason, message[:1000])


def refuse(number: int | None, code: str, message: str, time: float, spool: int) -> list[Action]:
    """Return how a question is refused: the asker gets the reason, and so do the watchers. `code` is for programs."""
    fields: dict[str, object] = {"code": "question_refused", "reason": code, "message": f"A question was refused: {message}"}
    told = WriteEvent(Kind.NOTICE, fields, time, spool)
    if number is None:
        return [told]
    body: dict[str, object] = {"id": f"reply-{number}", "number": number, "state": "refused", "value": None}
    return [SendCommand(Wire.REPLY, {**body, "reason": code, "message": message}), told]


def _number_of(payload: bytes) -> int | None:
    """Return the number of a question that cannot be read: agents write it first."""
    found = _NUMBER.match(payload)
    return int(found[1]) if found else None


def question_fields(question: Question) -> dict[str, object]:
    """Return the fields of a question event; the default of a secret is one too."""
    asked = question.asked
    secret = asked.kind is QuestionKind.SECRET
    return {
        "question": {
            "id": question.id,
            "text": asked.text,
            "kind": asked.kind.value,
            "choices": list(asked.choices),
            "default": None if secret else asked.default,
            "schema": asked.schema,
            "expires_at": question.expires_at,
            "who": asked.who,
        }
    }


def answer_fields(question: Question) -> dict[str, object]:
    """Return the fields of an answer event; a secret's value is never among them."""
    secret = question.asked.kind is QuestionKind.SECRET
    return {
        "question_id": question.id,
        "state": question.state.value,
        "value": None if secret else question.value,
        "by": question.answered_by,
    }


def reply_body(question: Question) -> dict[str, object]:
    """Return the REPLY command that carries a settled question's result to the agent."""
    answered = question.state is QuestionState.ANSWERED
    value = question.value if answered else None
    return {
        "id": f"reply-{question.asked.number}",
        "number": question.asked.number,
        "state": question.state.value,
        "value": value,
    }


def end_event_fields(end: End, total_bytes: int) -> dict[str, object]:
    """Return the fields of the end event."""
    return end_fields(end.outcome, total_bytes, end.withheld_bytes)
