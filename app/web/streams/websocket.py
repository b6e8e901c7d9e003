"""The WebSocket of a run: what is checked before the upgrade, and what the connection then serves."""

from __future__ import annotations

from flask import Blueprint

from app.domain.person import Person
from app.domain.runs.events import Position
from app.service import queries
from app.web import parsing
from app.web.auth import credential
from app.web.context import context
from app.web.streams.connection import Connection
from app.web.streams.frames import StreamQuery
from app.web.streams.sock import Admission, sock
from app.web.streams.subscription import Subscription, open_cursor, serve

bp = Blueprint("stream", __name__)


def admit(person: Person, run_id: str) -> Admission:
    """Admit a watcher. Raises: NotFound, Draining, TooManySockets, StoreUnavailable, and what a bad query does."""
    site = context()
    position = Position.parse(parsing.query(StreamQuery).position)
    run = queries.show(site.services, person, run_id)
    shown_with = credential()
    # Last, because nothing gives these back where what follows fails.
    slot, cursor = open_cursor(person, run_id, position)
    subscription = Subscription(site.services, run, shown_with, cursor, site.wait_reasons.of_id)
    return Admission(slot, subscription, cursor.close)


@sock.route("/v1/runs/<run:run_id>/stream", bp, admit=admit)
def stream(connection: Connection, subscription: Subscription) -> None:
    """Watch a run."""
    serve(subscription, connection)
