"""Routes of WebSockets: how a request is checked, leaves the server, and becomes a connection that a handler serves.

A route is written as flask-sock has it. What differs is how it is served: flask-sock calls the handler inside of the request,
which lives on with all it holds for as long as the socket does. Here Flask and gunicorn are done with the request, and the
handler runs on a thread of its own with a short stack. That halves the memory of an idle socket.
"""

from __future__ import annotations

import _thread
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import flask_sock
from flask import Blueprint, Flask, Response, request

from app.domain.bounded_json import shown
from app.domain.person import Person
from app.web.auth import check_origin, current_person
from app.web.context import context
from app.web.streams.close_codes import CloseCode, Violation
from app.web.streams.connection import Connection, ConnectionClosed, check_handshake
from app.web.streams.drain import Drain
from app.web.streams.registry import Slot

logger = logging.getLogger(__name__)

_UPGRADE = "podwire.upgrade"
_EXTENSION = "podwire.sock"
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Handler = Callable[..., None]


def _nothing() -> None:
    """There is nothing to be given back."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request got before its upgrade: its slot, what the handler is to serve, and `close` for what that holds."""

    slot: Slot
    subject: Any
    close: Callable[[], None] = _nothing

    def release(self) -> None:
        """Give everything back, the slot also where `close` fails."""
        try:
            self.close()
        finally:
            self.slot.release()


# Called with the person and the address' arguments, inside of the request; what it raises is the answer.
Admit = Callable[..., Admission]


def admit_person(person: Person, **arguments: Any) -> Admission:
    """Admit one more stream of the person, to serve the address' arguments. Raises: Draining, TooManySockets."""
    return Admission(context().drain.admit(person.id), arguments)


def _with_arguments(handler: Handler) -> Handler:
    # A call with `**` takes a kilobyte of each socket's stack, so the stream of a run goes without.
    return lambda connection, arguments: handler(connection, **arguments)


class Sock(flask_sock.Sock):  # type: ignore[misc]
    """flask-sock, whose handlers get our Connection, after the request is over.

    Every route needs a signed-in person and, from a browser, our own origin; it counts in the limits of open streams and is
    closed with 1012 when the process drains. SOCK_SERVER_OPTIONS mean nothing here.
    """

    app: Flask | None
    bp: Blueprint | None

    def init_app(self, app: Flask) -> None:
        """Add the routes so far, and the layer that serves them. One Sock may serve several applications, so it keeps none."""
        made_with = self.app
        super().init_app(app)
        self.app = made_with
        if _EXTENSION not in app.extensions:
            app.extensions[_EXTENSION] = self
            app.wsgi_app = UpgradeMiddleware(app.wsgi_app)  # type: ignore[method-assign]

    def route(
        self, path: str, bp: Blueprint | None = None, *, admit: Admit | None = None, **options: Any
    ) -> Callable[[Handler], Handler]:
        """Register `handler(connection, **arguments)`, as flask-sock does; with `admit`, `handler(connection, subject)`.

        `admit` looks at the request before the upgrade. The handler runs after it, without Flask's contexts; when it returns,
        the connection is closed.
        """
        admitted = admit or admit_person

        def decorator(handler: Handler) -> Handler:
            serve = handler if admit else _with_arguments(handler)

            @wraps(handler)
            def upgrade(**arguments: Any) -> Response:
                person = current_person()
                check_origin()
                check_handshake(request.environ)
                admission = admitted(person, **arguments)
                request.environ[_UPGRADE] = Upgrade(serve, admission, context().drain, shown(request.path))
                return Response(status=101)

            self._target(bp).route(path, websocket=True, **options)(upgrade)
            return handler

        return decorator

    def _target(self, bp: Blueprint | None) -> Blueprint | Flask:
        target = bp or self.app or self.bp
        if target is None:
            target = self.bp = Blueprint("__flask_sock", __name__)
        return target


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request that passed every check, on its way out of Flask."""

    handler: Handler
    admission: Admission
    drain: Drain
    path: str

    def begin(self, environ: dict[str, Any]) -> None:
        """Shake hands and leave the connection to a thread of its own, which cleans up whatever happens."""
        connection: Connection | None = None
        try:
            connection = Connection(environ)
            _thread.start_new_thread(self._serve, (connection,))
        except BaseException as error:
            self._end(connection)
            if connection is not None or not isinstance(error, OSError):
                raise
            logger.debug("%s: the client left during the handshake: %s", self.path, error)

    def _serve(self, connection: Connection) -> None:
        """Serve the connection until it is over. The last line of defence of a thread: nothing may escape."""
        slot = self.admission.slot
        try:
            slot.on_drain = lambda: connection.close(CloseCode.DRAINING, "draining")
            if self.drain.begun:
                slot.on_drain()
            self._handle(connection)
            # Cutting now could destroy what is on its way to the client.
            connection.wait_for_close()
        except Exception:
            logger.exception("%s: a connection failed", self.path)
        finally:
            self._end(connection)

    def _end(self, connection: Connection | None) -> None:
        try:
            if connection is not None:
                connection.finish()
        finally:
            self.admission.release()

    def _handle(self, connection: Connection) -> None:
        try:
            self.handler(connection, self.admission.subject)
        except Violation as violation:
            connection.close(violation.code, violation.reason)
        except ConnectionClosed:
            # Said while the handler was still talking or listening.
            return
        else:
            connection.close()


class UpgradeMiddleware:
    """The WSGI layer around Flask that serves upgraded requests."""

    def __init__(self, wsgi: Wsgi) -> None:
        """`wsgi` is Flask's own."""
        self._wsgi = wsgi

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer the request, or make a connection of it."""
        answer = self._wsgi(environ, start_response)
        upgrade: Upgrade | None = environ.pop(_UPGRADE, None)
        if upgrade is None:
            return answer
        upgrade.begin(environ)
        # Tells gunicorn that the connection is used up: it closes its own copy of the socket and logs nothing.
        raise StopIteration


# Every module that has a socket registers its route on this one, beside its blueprint.
sock = Sock()
