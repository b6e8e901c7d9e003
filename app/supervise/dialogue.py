"""The conversation of one attempt: its questions into SQL and the log, answers and input from people to its agent.

Which command goes over which link, and when the run counts as waiting, is the supervisor's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.agent.records.wire_format import Kind as Wire
from app.domain.errors import LimitReached
from app.domain.ids import question_id
from app.domain.runs.events import Kind
from app.domain.runs.question import Question
from app.domain.runs.run import Run
from app.supervise.session import AnnounceAnswer, AskQuestion, answer_fields, question_fields, reply_body
from app.supervise.worker.lease_scope import LeaseScope

logger = logging.getLogger(__name__)

Send = Callable[[Wire, dict[str, object]], None]


class Dialogue:
    """What the program asks and people answer. `waiting_for` holds the numbers of the questions that are open."""

    def __init__(self, lease: LeaseScope, run: Run, send: Send) -> None:
        """`send` sends a command to the agent, now or never: whatever is not acknowledged is sent again."""
        self._lease, self._context, self._log = lease, lease.context, lease.log
        self._run, self._send = run, send
        self.waiting_for: set[int] = set()

    def recall(self) -> None:
        """Learn what the attempt has asked before this supervisor came."""
        questions = self._lease.call_store(lambda: self._context.store.questions.of_run(self._run.id))
        self.waiting_for = {q.asked.number for q in questions if q.attempt == self._run.attempt and q.delivered_at is None}

    def ask(self, ask: AskQuestion) -> bool:
        """Store the question and write its event; False when it is one too many, which the program is told."""
        run, context = self._run, self._context
        try:
            question, _ = self._lease.call_store(
                lambda: context.store.questions.ask(run.id, run.token, run.attempt, ask.asked, context.max_questions)
            )
        except LimitReached as error:
            refusal = {"id": f"reply-{ask.asked.number}", "number": ask.asked.number, "state": "refused", "value": None}
            self._send(Wire.REPLY, {**refusal, "message": error.detail})
            notice: dict[str, object] = {"code": "question_refused", "message": error.detail}
            self._log.add(ask.time, Kind.NOTICE, notice, spool=ask.spool)
            return False
        self.waiting_for.add(ask.asked.number)
        self._log.add(ask.time, Kind.QUESTION, question_fields(question), spool=ask.spool)
        self._log.publish()
        return True

    def announce(self, announce: AnnounceAnswer) -> bool:
        """Write the event of an answer that the agent has taken; False for a question that nobody knows."""
        question = self._question(announce.number)
        if question is None:
            logger.error("run %s: the agent has a reply to question %d, which is not stored", self._run.id, announce.number)
            return False
        self._log.add(announce.time, Kind.ANSWER, answer_fields(question), spool=announce.spool)
        self.waiting_for.discard(announce.number)
        return True

    def _question(self, number: int) -> Question | None:
        run = self._run
        return self._lease.call_store(lambda: self._context.store.questions.get(question_id(run.id, run.attempt, number)))

    def deliver(self) -> None:
        """Send the agent what people answered and sent."""
        run = self._run
        if self.waiting_for:
            for question in self._lease.call_store(lambda: self._context.store.questions.undelivered(run.id, run.attempt)):
                self._send(Wire.REPLY, reply_body(question))
        if run.spec.stdin:
            # One at a time, so that a line which the agent cannot take yet is never overtaken by the next.
            for line in self._lease.call_store(lambda: self._context.store.inputs.undelivered(run.id))[:1]:
                self._send(Wire.INPUT, {"id": f"input-{line.number}", "data": line.data, "eof": line.eof})

    def acknowledged(self, command_id: str) -> bool:
        """Note that the agent holds a command for good; True when there may be more for it at once."""
        run = self._run
        what, _, number = command_id.partition("-")
        if not number.isdigit():
            return False
        if what == "reply":
            asked = question_id(run.id, run.attempt, int(number))
            self._lease.call_store(lambda: self._context.store.questions.delivered(asked))
        elif what == "input":
            self._lease.call_store(lambda: self._context.store.inputs.delivered(run.id, int(number)))
        return what == "input"
