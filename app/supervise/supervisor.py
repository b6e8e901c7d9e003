"""Follow one claimed run to its end: launch it, carry records to the log and replies to the agent, write its outcome.

The rules are in session.py; here is the moving of bytes. Every write is fenced by the token of the claim, so a supervisor that
was overtaken can do no harm: it notices (Fenced) and leaves without a word.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from app.agent.wire import Kind as Wire
from app.domain.errors import (
    AttemptGone,
    Conflict,
    Fenced,
    LauncherUnavailable,
    LaunchRefused,
    LimitReached,
    LinkLost,
    PodwireError,
    StoreUnavailable,
)
from app.domain.events import Kind
from app.domain.ids import question_id
from app.domain.lifecycle import Step, cancellation, transition
from app.domain.ports import Attempt, Link
from app.domain.question import Question
from app.domain.run import Outcome, Reason, Run, Status
from app.supervise.crew import Crew
from app.supervise.runlog import RunLog
from app.supervise.session import (
    Acked,
    Action,
    Announce,
    Ask,
    End,
    Move,
    Session,
    Tell,
    Write,
    answer_fields,
    end_event_fields,
    question_fields,
    reply_body,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

ATTEND_EVERY_S = 2.0
RETRY_S = 0.5
STAY_S = 1.0
SILENCE_S = 20.0
LAUNCH_WITHIN_S = 120.0
MAX_KEPT_BYTES = 8 * 1024 * 1024


class Drained(Exception):
    """This process shuts down: the run was released and goes on; another process takes it over."""


class Parked(Exception):
    """The run waits for a person and its slot is needed: it was left to itself, and is handed out again when there is news."""


class Supervisor:
    """One run under supervision. One thread follows; any thread may wake it."""

    def __init__(self, crew: Crew, run: Run, log: RunLog) -> None:
        """Continue the run where its log is."""
        self._crew, self._log = crew, log
        self._session = Session(run, log.top.offset)
        self._attempt = Attempt(run.id, run.attempt, run.spec, run.handle)
        self._link: Link | None = None
        self._woken = threading.Event()
        self._told: dict[str, float] = {}
        self._open: set[int] = set()
        self._attend_at = self._publish_at = self._heard_at = 0.0
        self._began_at = time.monotonic()
        self._ended = self._wait_told = False

    def wake(self) -> None:
        """Look at the run's row now."""
        self._woken.set()
        if link := self._link:
            link.wake()

    def follow(self) -> None:
        """Go on until the run has ended. Raises: Drained, Parked, Fenced."""
        self._begin()
        try:
            while not self._ended:
                self._check()
                self._attend_if_due()
                self._perform_records()
                self._send_on()
                self._park_if_crowded()
        finally:
            self._drop_link()

    def give_up(self) -> None:
        """End the run because of a fault of ours, whatever state it is in. Raises: Fenced."""
        message = "Podwire could not go on with this run because of an internal error; the log of the workers says more."
        self._end_before_start(Outcome(Status.FAILED, Reason.AGENT_LOST, message))

    # --- the beginning

    def _begin(self) -> None:
        run = self._session.run
        if self._log.top.seq == 0:
            fields: dict[str, object] = {"status": Status.STARTING.value, "attempt": run.attempt}
            self._log.add(self._now(), Kind.STATUS, fields)
        self._log.publish()
        if run.token > 1:
            questions = self._persist(lambda: self._crew.questions.of_run(run.id))
            self._open = {q.asked.number for q in questions if q.attempt == run.attempt and q.delivered_at is None}
        if run.handle is None:
            self._launch()

    def _launch(self) -> None:
        run, give_up_at = self._session.run, time.monotonic() + LAUNCH_WITHIN_S
        if run.cancel_requested_at is not None:
            return self._end_before_start(None)
        while True:
            self._check()
            try:
                handle = self._crew.launcher.launch(self._attempt)
                break
            except LaunchRefused as error:
                return self._end_before_start(_never_launched(error, Reason.INVALID_SPEC))
            except AttemptGone:
                return self._perform([self._session.lost()])
            except LauncherUnavailable as error:
                logger.warning("run %s: not launched yet: %s", run.id, error)
                waits = bool(error.facts.get("waits"))
                if self._overdue() if waits else time.monotonic() > give_up_at:
                    return self._end_before_start(_never_launched(error, Reason.LAUNCH_FAILED))
                if waits and self._cancelled_while_waiting(error):
                    return self._end_before_start(None)
                self._pause(RETRY_S)
                self._woken.clear()
        self._attempt = replace(self._attempt, handle=handle)
        self._session.run = replace(self._session.run, handle=handle)
        self._persist(lambda: self._crew.runs.set_handle(run.id, run.token, handle))

    def _overdue(self) -> bool:
        """Say whether the run has waited for a place to run for longer than its queue timeout."""
        deadline_at = self._session.run.queue_deadline_at
        return deadline_at is not None and self._now() > deadline_at

    def _cancelled_while_waiting(self, error: LauncherUnavailable) -> bool:
        """Tell watchers, once, what the run waits for; say whether somebody has cancelled it meanwhile."""
        if not self._wait_told:
            self._wait_told = True
            notice: dict[str, object] = {"code": "quota_exceeded", "message": error.detail}
            self._log.add(self._now(), Kind.NOTICE, notice)
            self._log.publish()
        run = self._session.run
        row = self._persist(lambda: self._crew.runs.get(run.id))
        if row is None or row.cancel_requested_at is None:
            return False
        self._session.run = replace(run, cancel_requested_at=row.cancel_requested_at, cancelled_by=row.cancelled_by)
        return True

    def _end_before_start(self, outcome: Outcome | None) -> None:
        """End a run that must not go on; the attempt is removed first, so that it never can."""
        self._remove()
        self._perform([End(outcome or cancellation(self._session.run))])

    # --- the loop

    def _check(self) -> None:
        run = self._session.run
        if not self._crew.leases.held(run.id, run.token):
            raise Fenced()
        if self._crew.halt.is_set():
            self._release()
            raise Drained

    def _release(self) -> None:
        run = self._session.run
        try:
            while self._log.publish() and self._log.archive():
                pass
            self._crew.runs.release(run.id, run.token)
        except StoreUnavailable as error:
            logger.warning("run %s: not released, its lease runs out instead: %s", run.id, error)

    def _perform_records(self) -> None:
        """Read what the agent says and do what follows from it."""
        try:
            link = self._connected()
            records = link.read(0.0 if self._woken.is_set() else max(0.0, self._attend_at - time.monotonic()))
        except AttemptGone:
            return self._perform([self._session.lost()])
        except LinkLost as error:
            logger.info("run %s: link lost: %s", self._session.run.id, error)
            return self._drop_link()
        except LauncherUnavailable as error:
            logger.info("run %s: agent not reached yet: %s", self._session.run.id, error)
            return self._pause(RETRY_S)
        if records:
            self._heard_at = time.monotonic()
        elif time.monotonic() > self._heard_at + SILENCE_S:
            return self._drop_link()
        for record in records:
            self._perform(self._session.record(record))
            if self._ended:
                return

    def _connected(self) -> Link:
        if self._link is None:
            self._link = self._crew.launcher.connect(self._attempt, self._log.top.spool)
            self._told.clear()
            self._attend_at = 0.0
            self._heard_at = time.monotonic()
        return self._link

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link:
            link.close()

    def _pause(self, seconds: float) -> None:
        self._woken.wait(seconds)

    def _send_on(self) -> None:
        """Pass events on to the live log; hold the agent back while SQL takes nothing."""
        if self._ended:
            return
        if time.monotonic() >= self._publish_at and not self._log.publish():
            self._publish_at = time.monotonic() + RETRY_S
        self._crew.archiver.hint(self._log)
        while self._log.kept_bytes > MAX_KEPT_BYTES:
            self._crew.archiver.hint(self._log)
            time.sleep(0.02)
            self._check()

    def _park_if_crowded(self) -> None:
        run = self._session.run
        if run.status is not Status.WAITING or time.monotonic() < self._began_at + STAY_S or self._link is None:
            return
        if not self._crew.leases.makes_room(run.id, run.token):
            return
        if self._log.publish():
            while self._persist(self._log.archive):
                pass
            if self._persist(lambda: self._crew.runs.park(run.id, run.token)):
                raise Parked
        self._crew.leases.stays(run.id, run.token)

    # --- the other direction: what people want of the run

    def _attend_if_due(self) -> None:
        if self._woken.is_set() or time.monotonic() >= self._attend_at:
            self._woken.clear()
            self._attend()
            self._attend_at = time.monotonic() + self._attend_within()

    def _attend_within(self) -> float:
        deadline_at = self._session.run.deadline_at
        if deadline_at is None or self._session.run.status is not Status.RUNNING:
            return ATTEND_EVERY_S
        return min(ATTEND_EVERY_S, max(0.05, deadline_at - self._now()))

    def _attend(self) -> None:
        run = self._session.run
        row = self._persist(lambda: self._crew.runs.get(run.id))
        if row is None or row.token != run.token or row.status.final:
            raise Fenced()
        self._perform(self._session.watch(row, self._now()))
        if self._ended:
            return
        if self._open:
            for question in self._persist(lambda: self._crew.questions.undelivered(run.id, run.attempt)):
                self._tell(Wire.REPLY, reply_body(question))
        if run.spec.stdin:
            # One at a time, so that a line which the agent cannot take yet is never overtaken by the next.
            for line in self._persist(lambda: self._crew.inputs.undelivered(run.id))[:1]:
                self._tell(Wire.INPUT, {"id": f"input-{line.number}", "data": line.data, "eof": line.eof})

    def _tell(self, kind: Wire, body: dict[str, object]) -> None:
        """Send a command unless this link carried it a moment ago; it is sent again until the agent acknowledges it."""
        key = str(body["id"])
        if self._link is None or time.monotonic() < self._told.get(key, 0.0) + 3 * ATTEND_EVERY_S:
            return
        try:
            self._link.send(kind, body)
            self._told[key] = time.monotonic()
        except LinkLost:
            self._drop_link()

    # --- what the session decides

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Write(kind, fields, at, spool, size):
                    self._log.add(at, kind, fields, spool=spool, size=size)
                case Tell(kind=command, body=body):
                    self._tell(command, body)
                case Move(step, reason):
                    self._move(step, reason)
                case Ask():
                    self._ask(action)
                case Announce(number, at, spool):
                    self._announce(number, at, spool)
                case Acked(command_id):
                    self._acknowledged(command_id)
                case End():
                    self._end(action)

    def _move(self, step: Step, reason: Reason | None) -> None:
        before = self._session.run
        after = transition(before, step, self._now(), reason=reason)
        self._session.run = self._persist(lambda: self._crew.runs.save(before, after))
        if step is Step.STOP:
            fields: dict[str, object] = {"status": Status.STOPPING.value, "attempt": after.attempt}
            self._log.add(self._now(), Kind.STATUS, fields)
        if step is Step.WAIT:
            self._crew.on_release()

    def _ask(self, ask: Ask) -> None:
        run = self._session.run
        crew = self._crew
        try:
            question, _ = self._persist(lambda: crew.questions.ask(run.id, run.token, run.attempt, ask.asked, crew.max_questions))
        except LimitReached as error:
            refusal = {"id": f"reply-{ask.asked.number}", "number": ask.asked.number, "state": "refused", "value": None}
            self._tell(Wire.REPLY, {**refusal, "message": error.detail})
            notice: dict[str, object] = {"code": "question_refused", "message": error.detail}
            self._log.add(ask.time, Kind.NOTICE, notice, spool=ask.spool)
            return
        self._open.add(ask.asked.number)
        self._log.add(ask.time, Kind.QUESTION, question_fields(question), spool=ask.spool)
        self._log.publish()
        self._perform(self._session.waits(len(self._open)))
        self._attend_at = 0.0

    def _announce(self, number: int, at: float, spool: int) -> None:
        question = self._question(number)
        if question is None:
            logger.error("run %s: the agent has a reply to question %d, which is not stored", self._session.run.id, number)
            return
        self._log.add(at, Kind.ANSWER, answer_fields(question), spool=spool)
        self._open.discard(number)
        self._perform(self._session.waits(len(self._open)))

    def _question(self, number: int) -> Question | None:
        run = self._session.run
        return self._persist(lambda: self._crew.questions.get(question_id(run.id, run.attempt, number)))

    def _acknowledged(self, command_id: str) -> None:
        run = self._session.run
        what, _, number = command_id.partition("-")
        if what == "reply" and number.isdigit():
            asked = question_id(run.id, run.attempt, int(number))
            self._persist(lambda: self._crew.questions.delivered(asked))
        elif what == "input" and number.isdigit():
            self._persist(lambda: self._crew.inputs.delivered(run.id, int(number)))
            self._attend_at = 0.0

    # --- the end

    def _end(self, end: End) -> None:
        """Write the outcome, the rest of the log and its end event in one transaction; then tidy up."""
        while self._persist(self._log.archive):
            pass
        self._persist(lambda: self._finish(end))
        self._ended = True
        try:
            if self._link:
                self._link.send(Wire.FINISH, {"id": "finish"})
        except LinkLost:
            logger.debug("run %s: agent left by itself", self._session.run.id)
        self._remove()
        self._crew.on_release()

    def _finish(self, end: End) -> None:
        before = self._session.run
        with self._log.holding_archive():
            now = self._now()
            after = transition(before, Step.END, now, outcome=end.outcome)
            entry = self._log.compose(now, Kind.END, end_event_fields(end, self._log.top.offset))
            self._crew.runs.finish(before, after, *self._log.last_chunk(entry))
        self._log.ended(entry)
        logger.info("run %s: %s, %s", before.id, end.outcome.status, end.outcome.reason)

    def _remove(self) -> None:
        try:
            self._crew.launcher.remove(self._attempt)
        except PodwireError as error:
            logger.warning("run %s: attempt not removed yet: %s", self._session.run.id, error)

    # --- time and the database

    def _now(self) -> float:
        return self._persist(self._crew.clock.now)

    def _persist(self, work: Callable[[], T]) -> T:
        """Do work that needs the database, again while it is away. Raises: Fenced once the lease may have run out."""
        run = self._session.run
        while True:
            try:
                return work()
            except StoreUnavailable as error:
                logger.warning("run %s: %s", run.id, error)
                time.sleep(RETRY_S)
                if not self._crew.leases.held(run.id, run.token):
                    raise Fenced() from error
            except Conflict as error:
                # The row is not what this supervisor believes: it was overtaken or an earlier try of this very write succeeded.
                raise Fenced() from error


def _never_launched(error: PodwireError, reason: Reason) -> Outcome:
    named = str(error.facts.get("reason") or "")
    return Outcome(Status.FAILED, Reason(named) if named in list(Reason) else reason, error.detail)
