"""A run's recorded output as the bytes that the program wrote, whole or in ranges (RFC 9110, section 14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from flask import Blueprint, Response, request
from pydantic import Field

from app.domain.runs.run import Run
from app.service import queries
from app.web import parsing
from app.web.api.answers import asked_range, with_range
from app.web.api.shapes import Shape
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("output", __name__)


class OutputQuery(Shape):
    """Which output, and how to send it."""

    attempt: int | None = Field(None, ge=1, le=1000, strict=False, description="only what this attempt wrote")
    download: Literal["0", "1"] = Field("0", description="1 = as a file")


@bp.get("/v1/runs/<run:run_id>/output")
def output(run_id: str) -> Response:
    """Return the recorded bytes."""
    run = queries.show(context().services, current_person(), run_id)
    query = parsing.query(OutputQuery)
    first, last = queries.output_span(context().services, run, query.attempt)
    size = last - first
    asked = asked_range(size, "the output")
    start, stop = asked or (0, size)
    response = Response(_bytes(run, first + start, first + stop), 206 if asked else 200, content_type=_type(query))
    return _with_headers(response, run, query, (start, stop, size))


def _bytes(run: Run, start: int, stop: int) -> Iterator[bytes]:
    # The first piece is fetched at once: if the database is out of reach, the answer can still say so.
    pieces = iter(queries.output(context().services, run, start, stop)) if start < stop else iter(())
    first = next(pieces, b"") if request.method != "HEAD" else b""

    def rest() -> Iterator[bytes]:
        yield first
        yield from pieces

    return rest()


def _type(query: OutputQuery) -> str:
    return "application/octet-stream" if query.download == "1" else "text/plain; charset=utf-8"


def _with_headers(response: Response, run: Run, query: OutputQuery, span: tuple[int, int, int]) -> Response:
    start, stop, size = span
    name = run.id if query.attempt is None else f"{run.id}-{query.attempt}"
    disposition = "attachment" if query.download == "1" else "inline"
    response.headers["Content-Disposition"] = f'{disposition}; filename="{name}.log"'
    return with_range(response, start, stop, size)
