"""A watcher's subscription to a run's log, over a WebSocket, while it lasts.

One thread sends what the cursor brings, the other carries out what the client asks. Neither waits for the other. The rules are in
protocol.py, the bytes in connection.py.
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
from app.domain.runs.events import Position
from app.domain.runs.run import Run
from app.live.cursor import Cursor
from app.service.runs import answer, cancel, stdin
from app.service.services import Services
from app.web.api.questions import question_resource
from app.web.api.runs.resources import run_summary
from app.web.auth import Credential
from app.web.context import context
from app.web.streams.close_codes import CloseCode, Violation
from app.web.streams.connection import Connection, ConnectionClosed
from app.web.streams.frames import AnswerFrame, CancelFrame, InputFrame
from app.web.streams.permission_check import PermissionCheck
from app.web.streams.protocol import Command, Out, Refusal, Session, failure, parse_command, success
from app.web.streams.registry import Slot
from app.web.wait_reasons import NOT_STARTED, StartState

logger = logging.getLogger(__name__)

QUEUE_POLL_S = 1.0
IDLE_S = 10.0
# Ids of this length are unique by themselves; shorter ones, such as c1, are so within their connection only.
UNIQUE_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Subscription:
    """What an accepted connection is about: who watches which run, and from where on."""

    services: Services
    run: Run
    credential: Credential
    cursor: Cursor
    wait_of: Callable[[str], StartState]


def open_cursor(person: Person, run_id: str, position: Position) -> tuple[Slot, Cursor]:
    """Admit one more stream of the person, and open its cursor. Release the one, close the other.

    Raises: Draining, TooManySockets, NotFound, StoreUnavailable.
    """
    site = context()
    slot = site.drain.admit(person.id)
    try:
        return slot, site.hub.watch(run_id, position)
    except BaseException:
        slot.release()
        raise


def serve(subscription: Subscription, connection: Connection) -> None:
    """Serve the connection until it is over. Raises: Violation, ConnectionClosed."""
    _thread.start_new_thread(_send, (subscription, connection, Session(to_start=subscription.run.status in NOT_STARTED)))
    _Commands(subscription, connection).serve()


def _send(subscription: Subscription, connection: Connection, session: Session) -> None:
    """Hand over what the cursor brings. The last line of defence of a thread: nothing may escape, and the client is told."""
    try:
        _do(connection, session.hello(run_summary(subscription.run), subscription.cursor.position))
        while _do(connection, _next(subscription, session)):
            continue
    except ConnectionClosed:
        return
    except Exception:
        logger.exception("run %s: the stream to a watcher failed", subscription.run.id)
        connection.close(CloseCode.INTERNAL, "internal")


def _next(subscription: Subscription, session: Session) -> Out:
    item = subscription.cursor.next(QUEUE_POLL_S if session.to_start else IDLE_S)
    if item is not None or not session.to_start:
        return session.on_item(item)
    try:
        return session.on_wait(*subscription.wait_of(subscription.run.id))
    except PodwireError as error:
        logger.warning("run %s: what it waits for was not read: %s", subscription.run.id, error)
        return Out()


def _do(connection: Connection, out: Out) -> bool:
    """Do it; False when nothing is to follow. Raises: ConnectionClosed."""
    connection.send_frames(out.frames)
    if out.code is not None:
        connection.close(out.code)
        return False
    return not connection.over


class _Commands:
    """Carries out the client's commands, one after the other, and says so."""

    def __init__(self, subscription: Subscription, connection: Connection) -> None:
        self._subscription, self._connection = subscription, connection
        self._scope = uuid.uuid4().hex
        self._permission = PermissionCheck(subscription.services, subscription.credential, subscription.run)

    def serve(self) -> None:
        """Read until the connection is over. Raises: Violation, ConnectionClosed."""
        for text in self._connection.messages():
            if text is not None:
                self._connection.send_frames((self._reply(text),), urgent=True)
            elif self._permission.due:
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
            logger.exception("run %s: a watcher's command failed", self._subscription.run.id)
            return failure(command.id, PodwireError("Something went wrong on our side; it has been recorded."))

    def _refused(self, command: Command, error: PodwireError) -> bytes:
        self._count(error.code)
        return failure(command.id, error)

    def _count(self, code: str) -> None:
        self._subscription.services.store.counters.note(REFUSALS.count(code))

    def _carry_out(self, person: Person, command: Command) -> dict[str, object]:
        services, run_id = self._subscription.services, self._subscription.run.id
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
            return self._permission.person()
        except Unauthenticated as error:
            raise Violation(CloseCode.UNAUTHENTICATED, "unauthenticated") from error
        except NotFound as error:
            raise Violation(CloseCode.UNKNOWN_RUN, "not_found") from error

    def _ask_again(self) -> None:
        """Who only listens is asked for their credential now and then, too."""
        try:
            self._person()
        except PodwireError as error:
            logger.warning("run %s: whether a watcher may still watch was not checked: %s", self._subscription.run.id, error)
