"""A run's log as server-sent events (the `text/event-stream` of the HTML standard), for those who cannot use a WebSocket."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

from flask import Blueprint, Response, request

from app.domain.errors import NotFound, StoreUnavailable, Unauthenticated
from app.domain.runs.events import Position
from app.live.batch import Batch, Reset
from app.live.cursor import Cursor
from app.service import queries
from app.web import parsing
from app.web.auth import credential, current_person
from app.web.context import context
from app.web.streams.drain import Drain
from app.web.streams.frames import StreamQuery
from app.web.streams.permission_check import PermissionCheck
from app.web.streams.subscription import open_cursor

logger = logging.getLogger(__name__)

bp = Blueprint("sse", __name__)
KEEPALIVE_S = 15.0
# How soon a stream notices that the process is leaving.
LOOK_S = 1.0


@bp.get("/v1/runs/<run:run_id>/events")
def events(run_id: str) -> Response:
    """Watch a run."""
    person = current_person()
    position = _position(parsing.query(StreamQuery))
    run = queries.show(context().services, person, run_id)
    if _is_read_to_the_end(run_id, position):
        return Response(status=204)
    slot, cursor = open_cursor(person, run_id, position)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    lines = _lines(cursor, context().drain, PermissionCheck(context().services, credential(), run))
    response = Response(lines, mimetype="text/event-stream", headers=headers)
    response.call_on_close(cursor.close)
    response.call_on_close(slot.release)
    return response


def _position(query: StreamQuery) -> Position:
    return Position.parse(request.headers.get("Last-Event-ID") or query.position)


def _is_read_to_the_end(run_id: str, position: Position) -> bool:
    """Say whether nothing will ever follow. A browser connects again after every end, until it is told 204."""
    if position.seq == 0:
        return False
    archived = context().services.store.log.archive_state(run_id)
    return archived is not None and archived.ended and position.seq >= archived.seq


def _is_still_permitted(permission: PermissionCheck) -> bool:
    """Say whether the watcher may still watch; a database that cannot be reached ends no stream."""
    try:
        if permission.due:
            permission.person()
    except StoreUnavailable as error:
        logger.warning("whether a watcher may still watch was not checked: %s", error)
    except (Unauthenticated, NotFound):
        return False
    return True


def _lines(cursor: Cursor, drain: Drain, permission: PermissionCheck) -> Iterator[bytes]:
    spoken_at = time.monotonic()
    yield b"retry: 1000\n\n"
    while not drain.begun and _is_still_permitted(permission):
        item = cursor.next(LOOK_S)
        if item is not None:
            spoken_at = time.monotonic()
            yield _message(item)
            if isinstance(item, Batch) and item.ended:
                return
        elif time.monotonic() - spoken_at >= KEEPALIVE_S:
            spoken_at = time.monotonic()
            yield b": still here\n\n"


def _message(item: Batch | Reset) -> bytes:
    if isinstance(item, Reset):
        data = json.dumps({"epoch": item.epoch, "seq": item.seq}).encode()
        return b"id: %d-%d\nevent: reset\ndata: %s\n\n" % (item.epoch, item.seq, data)
    return b"".join(_event(payload) for payload in item.payloads)


def _event(payload: bytes) -> bytes:
    event = json.loads(payload)
    return b"id: %d-%d\nevent: %s\ndata: %s\n\n" % (event["epoch"], event["seq"], event["kind"].encode(), payload)
