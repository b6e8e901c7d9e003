"""The WebSocket of a run: what is checked before the upgrade, and how a request leaves the server to become a connection.

The connection has threads of its own with short stacks; Flask and gunicorn are done with the request. That halves the memory
of an idle socket.
"""

from __future__ import annotations

import _thread
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, Response, request

from app.domain.person import Person
from app.domain.runs.events import Position
from app.live.cursor import Cursor
from app.service import queries
from app.web import parsing
from app.web.auth import check_origin, credential, current_person
from app.web.context import WebContext, context
from app.web.streams.connection import Wire, check_handshake
from app.web.streams.conversation import Watch, converse
from app.web.streams.frames import StreamQuery
from app.web.streams.protocol import Code
from app.web.streams.registry import Place

logger = logging.getLogger(__name__)

bp = Blueprint("stream", __name__)
_UPGRADE = "podwire.upgrade"
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request that passed every check, on its way out of Flask."""

    site: WebContext
    watch: Watch
    place: Place

    def begin(self, environ: dict[str, Any]) -> None:
        """Shake hands and leave the connection to a thread of its own, which cleans up whatever happens."""
        try:
            wire = Wire(environ)
        except OSError as error:
            logger.debug("run %s: the client left during the handshake: %s", self.watch.run.id, error)
            self._clean_up()
        except BaseException:
            self._clean_up()
            raise
        else:
            _thread.start_new_thread(self._serve, (wire,))

    def _serve(self, wire: Wire) -> None:
        """Serve the connection until it is over. The last line of defence of a thread: nothing may escape."""
        try:
            self.place.dismiss = lambda: wire.say_goodbye(Code.DRAINING, "draining")
            if self.site.drain.begun:
                self.place.dismiss()
            converse(self.watch, wire)
        except Exception:
            logger.exception("run %s: a connection failed", self.watch.run.id)
        finally:
            wire.finish()
            self._clean_up()

    def _clean_up(self) -> None:
        self.watch.cursor.close()
        self.place.release()


class Upgrades:
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


def register(app: Flask) -> None:
    """Add the address and the layer."""
    app.register_blueprint(bp)
    app.wsgi_app = Upgrades(app.wsgi_app)  # type: ignore[method-assign]


@bp.get("/v1/runs/<run:run_id>/stream", websocket=True)
def stream(run_id: str) -> Response:
    """Watch a run."""
    person, held = current_person(), credential()
    check_origin()
    check_handshake(request.environ)
    position = Position.parse(parsing.query(StreamQuery).position)
    run = queries.show(context().services, person, run_id)
    place, cursor = enter(person, run_id, position)
    watch = Watch(context().services, run, held, cursor, context().wait_reasons.of_id)
    request.environ[_UPGRADE] = Upgrade(context(), watch, place)
    return Response(status=101)


def enter(person: Person, run_id: str, position: Position) -> tuple[Place, Cursor]:
    """Admit one more stream of the person, and open its cursor. Release the one, close the other.

    Raises: Draining, TooManySockets, NotFound, StoreUnavailable.
    """
    site = context()
    site.drain.check()
    place = site.drain.sockets.enter(person.id)
    try:
        return place, site.hub.watch(run_id, position)
    except BaseException:
        place.release()
        raise
