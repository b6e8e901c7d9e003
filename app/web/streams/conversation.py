"""A watcher's connection while it lasts: one thread sends what the cursor brings, the other carries out what the client asks.

Neither waits for the other. The rules are in app.web.streams.protocol, the bytes in app.web.streams.connection.
"""

from __future__ import annotations

import _thread
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import InvalidInput, NotFound, PodwireError, Unauthenticated
from app.domain.metrics import REFUSALS
from app.domain.person import Person
from app.domain.runs.run import Run
from app.live.cursor import Cursor
from app.service.runs import answer, cancel, stdin
from app.service.services import Services
from app.web.api.questions import question_resource
from app.web.api.runs.resources import run_summary
from app.web.auth import Credential
from app.web.streams.connection import Wire, WireClosed
from app.web.streams.frames import AnswerFrame, CancelFrame, InputFrame
from app.web.streams.permission_check import Recheck
from app.web.streams.protocol import Code, Command, Out, Refusal, Session, Violation, failure, parse_command, success
from app.web.wait_reasons import NOT_STARTED, StartState

logger = logging.getLogger(__name__)

QUEUE_POLL_S = 1.0
IDLE_S = 10.0
# Ids of this length are unique by themselves; shorter ones, such as c1, are so within their connection only.
UNIQUE_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Watch:
    """What an accepted connection is about."""

    services: Services
    run: Run
    credential: Credential
    cursor: Cursor
    wait_of: Callable[[str], StartState]


def converse(watch: Watch, wire: Wire) -> None:
    """Serve the connection until it is over."""
    _thread.start_new_thread(_send, (watch, wire, Session(to_start=watch.run.status in NOT_STARTED)))
    try:
        _Commands(watch, wire).serve()
    except Violation as violation:
        wire.say_goodbye(violation.code, violation.reason)
        wire.linger()
    except WireClosed:
        # Said while the client was still talking. Cutting now could destroy what is on its way to it.
        wire.linger()


def _send(watch: Watch, wire: Wire, session: Session) -> None:
    """Hand over what the cursor brings. The last line of defence of a thread: nothing may escape, and the client is told."""
    try:
        _do(wire, session.hello(run_summary(watch.run), watch.cursor.position))
        while _do(wire, _next(watch, session)):
            continue
    except WireClosed:
        return
    except Exception:
        logger.exception("run %s: the stream to a watcher failed", watch.run.id)
        wire.say_goodbye(Code.INTERNAL, "internal")


def _next(watch: Watch, session: Session) -> Out:
    item = watch.cursor.next(QUEUE_POLL_S if session.to_start else IDLE_S)
    if item is not None or not session.to_start:
        return session.on_item(item)
    try:
        return session.on_wait(*watch.wait_of(watch.run.id))
    except PodwireError as error:
        logger.warning("run %s: what it waits for was not read: %s", watch.run.id, error)
        return Out()


def _do(wire: Wire, out: Out) -> bool:
    """Do it; False when nothing is to follow. Raises: WireClosed."""
    wire.send_frames(out.frames)
    if out.code is not None:
        wire.say_goodbye(out.code)
        return False
    return not wire.over


class _Commands:
    """Carries out the client's commands, one after the other, and says so."""

    def __init__(self, watch: Watch, wire: Wire) -> None:
        self._watch, self._wire = watch, wire
        self._scope = uuid.uuid4().hex
        self._recheck = Recheck(watch.services, watch.credential, watch.run)

    def serve(self) -> None:
        """Read until the connection is over. Raises: Violation, WireClosed."""
        for text in self._wire.messages():
            if text is not None:
                self._wire.send_frames((self._reply(text),), urgent=True)
            elif self._recheck.due:
                self._ask_again()

    def _reply(self, text: str) -> bytes:
        try:
            command = parse_command(text)
        except Refusal as refusal:
            self._count(InvalidInput.code)
            return refusal.frame
        try:
            return success(command.id, self._carry_out(self._person(), command))
        except PodwireError as error:
            return self._refused(command, error)
        except Violation:
            raise
        except Exception:
            logger.exception("run %s: a watcher's command failed", self._watch.run.id)
            return failure(command.id, PodwireError("Something went wrong on our side; it has been recorded."))

    def _refused(self, command: Command, error: PodwireError) -> bytes:
        self._count(error.code)
        return failure(command.id, error)

    def _count(self, code: str) -> None:
        self._watch.services.counters.note(REFUSALS.count(code))

    def _carry_out(self, person: Person, command: Command) -> dict[str, object]:
        services, run_id = self._watch.services, self._watch.run.id
        if isinstance(command, AnswerFrame):
            settled = answer.answer(services, person, command.question, command.value, self._unique(command.id))
            return {"question": question_resource(settled)}
        if isinstance(command, InputFrame):
            stdin.send(services, person, run_id, command.data, self._unique(command.id), command.eof)
        if isinstance(command, CancelFrame):
            return {"run": run_summary(cancel.cancel(services, person, run_id))}
        return {}

    def _unique(self, command_id: str) -> str:
        return command_id if len(command_id) >= UNIQUE_LENGTH else f"{self._scope}:{command_id}"

    def _person(self) -> Person:
        """Return who is there, as they are now. Raises: Violation, StoreUnavailable."""
        try:
            return self._recheck.person()
        except Unauthenticated as error:
            raise Violation(Code.UNAUTHENTICATED, "unauthenticated") from error
        except NotFound as error:
            raise Violation(Code.UNKNOWN_RUN, "not_found") from error

    def _ask_again(self) -> None:
        """Who only listens is asked for their credential now and then, too."""
        try:
            self._person()
        except PodwireError as error:
            logger.warning("run %s: whether a watcher may still watch was not checked: %s", self._watch.run.id, error)
