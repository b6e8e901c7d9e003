"""What a run left to be kept: the list, and each file as a download (never shown by a browser as a page of ours)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, request
from gevent import get_hub
from gevent.monkey import is_module_patched
from werkzeug.routing import BaseConverter

from app.domain.runs.artefacts import Artefact
from app.service import artefacts
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.artefact_shapes import artefact_page
from app.web.api.ranges import asked_range, with_range
from app.web.api.schemas import ArtefactQuery, ArtefactsQuery, cursor_of
from app.web.auth import current_person
from app.web.context import context

T = TypeVar("T")

bp = Blueprint("artefacts", __name__)
CHUNK_BYTES = 256 * 1024
_FALLBACK = str.maketrans({character: "_" for character in '\\"%/'})


class ArtefactName(BaseConverter):
    """Matches any name at all, also one with slashes and line ends: what it means is looked up, never a path."""

    regex = r"(?s:.+)"
    part_isolating = False


@bp.get("/v1/runs/<run:run_id>/artefacts")
def list_artefacts(run_id: str) -> Response:
    """List what a run left."""
    query = parsing.query(ArtefactsQuery)
    found = artefacts.listing(
        context().services, current_person(), run_id, query.attempt, after=query.after, limit=query.limit + 1
    )
    shown = list(found.files[: query.limit])
    return answer(artefact_page(found, shown, _next(shown[-1]) if len(found.files) > query.limit else None))


@bp.get("/v1/runs/<run:run_id>/artefacts/<artefact:name>")
def download(run_id: str, name: str) -> Response:
    """Return one file."""
    query = parsing.query(ArtefactQuery)
    artefact, file = artefacts.opened(context().services, current_person(), run_id, name, query.attempt)
    pieces = _Pieces(file)
    try:
        size = _aside(partial(os.fstat, file)).st_size
        asked = asked_range(size, "the artefact")
        pieces.start, pieces.stop = asked or (0, size)
        response = Response(pieces, 206 if asked else 200, content_type="application/octet-stream")
        # Where nothing is sent (HEAD) nothing is read, and the file is closed all the same.
        response.call_on_close(pieces.close)
    except BaseException:
        pieces.close()
        raise
    response.headers["Content-Disposition"] = disposition(artefact.name)
    return with_range(response, pieces.start, pieces.stop, size)


def disposition(name: str) -> str:
    """Return the header that has a browser save the file under the last part of its name (RFC 6266)."""
    base = name.rpartition("/")[2]
    plain = "".join(each if each.isascii() and each.isprintable() else "_" for each in base).translate(_FALLBACK)
    header = f'attachment; filename="{plain[:200]}"'
    return header if plain == base else f"{header}; filename*=UTF-8''{quote(base[:200], safe='')}"


class _Pieces:
    """The bytes of an open file, piece by piece."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.start = self.stop = 0

    def __iter__(self) -> Iterator[bytes]:
        while self.start < self.stop:
            size = min(CHUNK_BYTES, self.stop - self.start)
            data = _aside(partial(os.pread, self._file, size, self.start))
            if not data:
                return
            self.start += len(data)
            yield data

    def close(self) -> None:
        """Close the file. Idempotent."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _aside(work: Callable[[], T]) -> T:
    """Do what a slow storage may hold up without holding up everything else that this process serves."""
    if not is_module_patched("threading"):
        return work()
    done: T = get_hub().threadpool.apply(work)
    return done


def _next(last: Artefact) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return f"{request.path}?{urlencode([*query, ('cursor', cursor_of(last.number))])}"
