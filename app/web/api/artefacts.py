"""What a run left to be kept: the list, and each file as a download (never shown by a browser as a page of ours)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, request, url_for
from gevent import get_hub
from gevent.monkey import is_module_patched
from pydantic import BaseModel, Field
from werkzeug.routing import BaseConverter

from app.domain.runs.artefacts import Artefact
from app.service import artefacts
from app.service.artefacts import Listing
from app.web import parsing
from app.web.api.answers import answer, asked_range, with_range
from app.web.api.shapes import Shape, Time, cursor_of, sequence_of
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


class ArtefactsQuery(Shape):
    """Which artefacts, and which page of them."""

    attempt: int | None = Field(None, ge=1, le=1000, strict=False, description="of which attempt; the last that left any")
    limit: int = Field(100, ge=1, le=1000, strict=False)
    cursor: str | None = Field(None, max_length=64, description="where the list goes on, from `next`")

    @property
    def after(self) -> int:
        """The number of the last file that was listed."""
        return 0 if self.cursor is None else sequence_of(self.cursor)


class ArtefactQuery(Shape):
    """Of which attempt a file is."""

    attempt: int | None = Field(None, ge=1, le=1000, strict=False, description="of which attempt; the last that left any")


class ArtefactResource(BaseModel):
    """One file that a run left."""

    name: str
    size_bytes: int
    modified_at: Time
    url: str


class ArtefactPage(BaseModel):
    """What an attempt of a run left. `state` is none (nothing is known, or it has not ended), collecting, kept or lost.

    `left_out` files were not kept; `message` says why.
    """

    items: list[ArtefactResource]
    next: str | None
    state: str
    attempt: int | None
    attempts: list[int]
    files: int
    size_bytes: int
    left_out: int
    message: str | None
    kept_until: Time | None


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


def artefact_page(found: Listing, shown: list[Artefact], following: str | None) -> ArtefactPage:
    """Return the page that shows these files of what was found; `following` is the address of the next one."""
    holding = found.holding
    return ArtefactPage(
        items=[_resource(found, file) for file in shown],
        next=following,
        state=holding.state.value if holding else "none",
        attempt=holding.attempt if holding else None,
        attempts=list(found.attempts),
        files=holding.files if holding else 0,
        size_bytes=holding.size_bytes if holding else 0,
        left_out=holding.left_out if holding else 0,
        message=(holding.message if holding else "") or None,
        kept_until=found.kept_until if holding and holding.files else None,
    )


def _resource(found: Listing, file: Artefact) -> ArtefactResource:
    return ArtefactResource(
        name=file.name, size_bytes=file.size_bytes, modified_at=file.modified_at, url=download_url(found, file)
    )


def download_url(found: Listing, file: Artefact) -> str:
    """Return where a listed file is downloaded, for whatever name it has."""
    attempt = found.holding.attempt if found.holding else 1
    path = url_for("artefacts.list_artefacts", run_id=found.run.id) + "/" + quote(file.name, safe="/")
    return f"{path}?attempt={attempt}"


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
