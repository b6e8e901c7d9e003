"""Ranges of bytes (RFC 9110, section 14): what was asked for, and the headers of the answer."""

from __future__ import annotations

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable


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
