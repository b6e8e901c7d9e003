"""Follow one claimed run to its end: launch it, carry records to the log and replies to the agent, write its outcome.

The rules are in session.py; here is the moving of bytes. Every write is fenced by the token of the claim, so a supervisor that
was overtaken can do no harm: it notices (Fenced) and leaves without a word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from app.domain.errors import AttemptGone, Fenced, FormsBusy, LauncherUnavailable, LinkLost, PodwireError
from app.domain.ports import Attempt, Link
from app.domain.reconcile import leaves_remains
from app.domain.runs.events import Kind
from app.domain.runs.lifecycle import Step, transition
from app.domain.runs.run import Outcome, Reason, Run, Status
from app.supervise.agent_link import AgentLink
from app.supervise.artefact_upload import ArtefactUpload
from app.supervise.attempt_end import AttemptEnd, began_after
from app.supervise.attempt_evidence import RECALLED_EVENTS, AttemptEvidence
from app.supervise.dialogue import Dialogue
from app.supervise.form_default import FormDefaults
from app.supervise.launching import Launching, NotLaunched
from app.supervise.log.run_log import RunLog
from app.supervise.session import (
    Acknowledged,
    Action,
    AnnounceAnswer,
    AskQuestion,
    AttemptUpdate,
    ChangeStatus,
    CheckForm,
    End,
    HeldUp,
    SendCommand,
    Session,
    WriteEvent,
    refuse,
)
from app.supervise.worker.lease_scope import RETRY_S, LeaseScope
from app.supervise.worker.worker_context import WorkerContext

logger = logging.getLogger(__name__)

CHECK_ROW_EVERY_S = 2.0
READ_WITHIN_S = 2.0
STAY_S = 1.0
MAX_KEPT_BYTES = 8 * 1024 * 1024


class Parked(Exception):
    """The run waits for a person and its slot is needed: it was left to itself, and is handed out again when there is news."""


class Supervisor:
    """One run under supervision. One thread follows; any thread may wake it."""

    def __init__(self, context: WorkerContext, run: Run, log: RunLog) -> None:
        """Continue the run where its log is."""
        self._context, self._log = context, log
        self._lease = LeaseScope(context, run, log)
        self._session = Session(run, log.top.offset, AttemptEvidence(run, context.lease_s))
        self._attempt_end = AttemptEnd(self._lease, lambda: began_after(lambda: context.launcher.remove(self._attempt)))
        self._agent = AgentLink(self._connect, send_again_s=3 * CHECK_ROW_EVERY_S)
        self._dialogue = Dialogue(self._lease, run, self._agent.send)
        self._form_defaults = FormDefaults(self._lease, run, context.forms)
        self._attempt = Attempt(run.id, run.attempt, run.spec, run.handle)
        self._check_row_at = self._publish_at = 0.0
        self._began_at = time.monotonic()
        self._ended = False
        # The last event of the attempts before this one.
        self._before = 0

    def wake(self) -> None:
        """Look at the run's row now."""
        self._lease.woken.set()
        self._agent.wake()

    def follow(self) -> None:
        """Go on until the run has ended. Raises: Drained, Parked, Fenced."""
        self._begin()
        if self._ended:
            return
        with self._context.tracer.part("follow", self._session.run):
            try:
                while not self._ended:
                    self._lease.check()
                    self._check_row_if_due()
                    self._perform_records()
                    self._publish_events()
                    self._park_if_crowded()
            finally:
                self._agent.close()

    def give_up(self) -> None:
        """End the run because of a fault of ours, whatever state it is in. Raises: Fenced."""
        message = "Podwire could not go on with this run because of an internal error; the log of the workers says more."
        self._end_before_start(End(Outcome(Status.FAILED, Reason.AGENT_LOST, message), for_good=True))

    # --- the beginning

    def _begin(self) -> None:
        run = self._session.run
        if run.attempt > 1:
            former = self._lease.call_store(lambda: self._context.store.attempts.former(run.id))
            self._before = former[-1].last_seq
        if self._log.top.seq == self._before:
            fields: dict[str, object] = {"status": Status.STARTING.value, "attempt": run.attempt}
            self._log.add(self._lease.now(), Kind.STATUS, fields)
        self._log.publish()
        if run.token > 1:
            self._dialogue.recall()
        if run.handle is None:
            self._launch()

    def _launch(self) -> None:
        run = self._session.run
        try:
            with self._context.tracer.part("launch", run):
                handle = Launching(self._lease, run, self._attempt, self._hold_up).handle()
        except NotLaunched as error:
            return self._end_before_start(End(error.outcome, hopeless=error.hopeless))
        except AttemptGone:
            return self._perform([self._session.lost()])
        self._attempt = replace(self._attempt, handle=handle)
        self._session.run = replace(run, handle=handle, held_up=None)
        self._lease.call_store(
            lambda: self._context.store.attempts.set_handle(run.id, run.token, handle, self._session.evidence.known)
        )

    def _end_before_start(self, end: End) -> None:
        """End an attempt that must not go on; it is removed first, so that it never can."""
        self._remove()
        self._perform([end])

    def _on_start(self) -> None:
        """Note that the program may begin from here on, before it is let go."""
        run = self._session.run
        if run.let_go_at is None:
            now = self._lease.now()
            self._lease.call_store(lambda: self._context.store.attempts.let_go(run.id, run.token, now))
            self._session.run = replace(run, let_go_at=now)

    # --- the loop

    def _perform_records(self) -> None:
        """Read what the agent says and do what follows from it."""
        try:
            self._agent.open()
            records = self._agent.read(0.0 if self._lease.woken.is_set() else max(0.0, self._check_row_at - time.monotonic()))
        except AttemptGone:
            return self._perform([self._session.lost()])
        except LinkLost as error:
            logger.info("run %s: link lost: %s", self._session.run.id, error)
            return None
        except LauncherUnavailable as error:
            logger.info("run %s: agent not reached yet: %s", self._session.run.id, error)
            return self._lease.pause(RETRY_S)
        for number, record in enumerate(records):
            actions = self._session.record(record)
            try:
                self._perform(actions)
            except FormsBusy:
                # Meanwhile people can still end the run. The link stays: closing it would take replies back that were just sent.
                self._agent.give_back(records[number:])
                return self._lease.pause(RETRY_S)
            if self._ended:
                return
            if any(isinstance(action, CheckForm) for action in actions):
                # That may have taken long: the lease, the row and the watchers get their turn.
                return self._agent.give_back(records[number + 1 :])

    def _connect(self) -> Link:
        if self._session.run.status is Status.STARTING:
            self._hold_up(None)  # what another link said; this one says what is so now
        link = self._context.launcher.connect(self._attempt, self._log.top.spool, self._on_start)
        self._check_row_at = 0.0
        return link

    def _publish_events(self) -> None:
        """Pass events on to the live log; hold the agent back while SQL takes nothing."""
        if self._ended:
            return
        if time.monotonic() >= self._publish_at and not self._log.publish():
            self._publish_at = time.monotonic() + RETRY_S
        self._context.archiver.hint(self._log)
        while self._log.kept_bytes > MAX_KEPT_BYTES:
            self._context.archiver.hint(self._log)
            time.sleep(0.02)
            self._lease.check()

    def _park_if_crowded(self) -> None:
        run = self._session.run
        if run.status is not Status.WAITING or time.monotonic() < self._began_at + STAY_S or not self._agent.is_open:
            return
        if not self._context.leases.makes_room(run.id, run.token):
            return
        if self._log.publish():
            while self._lease.call_store(self._log.archive):
                pass
            if self._lease.call_store(lambda: self._context.store.leases.park(run.id, run.token)):
                raise Parked
        self._context.leases.stays(run.id, run.token)

    # --- the other direction: what people want of the run

    def _check_row_if_due(self) -> None:
        if self._lease.woken.is_set() or time.monotonic() >= self._check_row_at:
            self._lease.woken.clear()
            self._check_row()
            self._check_row_at = time.monotonic() + self._check_row_within()

    def _check_row_within(self) -> float:
        deadline_at = self._session.run.deadline_at
        if deadline_at is None or self._session.run.status is not Status.RUNNING:
            return CHECK_ROW_EVERY_S
        return min(CHECK_ROW_EVERY_S, max(0.05, deadline_at - self._lease.now()))

    def _check_row(self) -> None:
        run = self._session.run
        row = self._lease.call_store(lambda: self._context.store.runs.get(run.id))
        if row is None or row.token != run.token or row.status.final:
            raise Fenced()
        self._perform(self._session.watch(row, self._lease.now()))
        if self._ended:
            return
        self._dialogue.deliver()

    # --- what the session decides

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case WriteEvent(kind, fields, at, spool, size):
                    self._log.add(at, kind, fields, spool=spool, size=size)
                case SendCommand(kind=command, body=body):
                    self._agent.send(command, body)
                case ChangeStatus(step, reason):
                    self._move(step, reason)
                case AskQuestion() | CheckForm():
                    self._ask(action)
                case AnnounceAnswer():
                    self._announce(action)
                case Acknowledged(command_id):
                    self._acknowledged(command_id)
                case AttemptUpdate() | HeldUp():
                    self._apply_update(action)
                case End():
                    self._end(action)

    def _move(self, step: Step, reason: Reason | None) -> None:
        before = self._session.run
        after = self._session.evidence.of(transition(before, step, self._lease.now(), reason=reason))
        self._session.run = self._lease.call_store(lambda: self._context.store.runs.save(before, after))
        if step is Step.STOP:
            fields: dict[str, object] = {"status": Status.STOPPING.value, "attempt": after.attempt}
            self._log.add(self._lease.now(), Kind.STATUS, fields)
        if step is Step.WAIT:
            self._context.on_release()

    def _ask(self, ask: AskQuestion | CheckForm) -> None:
        if isinstance(ask, CheckForm):
            return self._check_form(ask)
        if self._dialogue.ask(ask):
            self._wait_or_go_on()
            self._check_row_at = 0.0

    def _check_form(self, check: CheckForm) -> None:
        refusal, ask = self._form_defaults.refusal(check.ask), check.ask
        if refusal is None:
            return self._ask(ask)
        self._perform(refuse(ask.asked.number, refusal.code, refusal.detail, ask.time, ask.spool))

    def _announce(self, announce: AnnounceAnswer) -> None:
        if self._dialogue.announce(announce):
            self._wait_or_go_on()

    def _acknowledged(self, command_id: str) -> None:
        if self._dialogue.acknowledged(command_id):
            self._check_row_at = 0.0

    def _wait_or_go_on(self) -> None:
        self._perform(self._session.waits(len(self._dialogue.waiting_for)))

    def _apply_update(self, update: AttemptUpdate | HeldUp) -> None:
        run, evidence = self._session.run, self._session.evidence
        if isinstance(update, HeldUp):
            return self._hold_up(update.why)
        if update.use is not None:
            return self._context.uses.put(run.id, update.use)
        self._session.run = evidence.of(run)
        self._lease.call_store(lambda: self._context.store.attempts.set_evidence(run, evidence.known))

    def _hold_up(self, why: str | None) -> None:
        """Keep what the start waits for, for everyone to see."""
        run = self._session.run
        if why != run.held_up:
            self._lease.call_store(lambda: self._context.store.attempts.hold_up(run, why))
            self._session.run = replace(run, held_up=why)

    def _recall_evidence(self) -> None:
        evidence, run = self._session.evidence, self._session.run
        if evidence.lacks(self._log.top.offset):
            evidence.recall(self._lease.call_store(lambda: self._context.store.log.read(run.id, self._before, RECALLED_EVENTS)))

    # --- the end

    def _end(self, end: End) -> None:
        """Write the end of the attempt; then tidy up."""
        while self._lease.call_store(self._log.archive):
            pass
        self._recall_evidence()
        self._keep_artefacts(end.left_nothing)
        with self._context.tracer.part("end", self._session.run) as part:
            part.note(status=end.outcome.status.value, reason=end.outcome.reason.value)
            over = self._attempt_end.write(self._session.run, end, self._session.evidence)
        self._ended = True
        kept = over and self._context.keep_failed_s > 0 and leaves_remains(end.outcome)
        self._agent.finish(run_id=self._session.run.id, read_within_s=READ_WITHIN_S if kept else 0.0)
        if not kept:
            self._remove()
        self._context.on_release()

    def _keep_artefacts(self, nothing: bool) -> None:
        run, artefact_storage = self._session.run, self._context.artefact_storage
        if artefact_storage is not None and run.started_at is not None:
            with self._context.tracer.part("keep", run):
                ArtefactUpload(self._lease, artefact_storage, run, self._attempt).keep(nothing=nothing)

    def _remove(self) -> None:
        try:
            self._context.launcher.remove(self._attempt)
        except PodwireError as error:
            logger.warning("run %s: attempt not removed yet: %s", self._session.run.id, error)
