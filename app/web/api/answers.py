"""Resources and ranges of bytes (RFC 9110, section 14) as HTTP answers: status codes and headers."""

from __future__ import annotations

from flask import Response, request
from pydantic import BaseModel
from werkzeug.exceptions import RequestedRangeNotSatisfiable


def answer(resource: BaseModel, status: int = 200, **headers: str) -> Response:
    """Return the resource as JSON. `headers` are named as in `Location` or `Retry_After`."""
    response = Response(resource.model_dump_json(exclude={"dispatch"} if _blank(resource) else None), status)
    response.mimetype = "application/json"
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def asked_range(size: int, what: str) -> tuple[int, int] | None:
    """Return the one range that was asked for; None for all. Several ranges, or one that depends on a version, are all.

    Raises: RequestedRangeNotSatisfiable.
    """
    asked = request.range
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or "If-Range" in request.headers:
        return None
    first, end = asked.ranges[0]
    start, stop = (max(0, size + first), size) if first < 0 else (first, size if end is None else min(end, size))
    if start >= stop:
        raise RequestedRangeNotSatisfiable(size, description=f"Nothing is there; {what} has {size} bytes.")
    return start, stop


def with_range(response: Response, start: int, stop: int, size: int) -> Response:
    """Return the response with the headers of the bytes [start, stop) of `size`."""
    response.headers["Accept-Ranges"] = "bytes"
    response.content_length = stop - start
    if response.status_code == 206:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return response


def _blank(resource: BaseModel) -> bool:
    # `dispatch` says something out of the ordinary; it is left out otherwise.
    return getattr(resource, "dispatch", "") is None
