"""What the shapes of all resources share: the base of requests, the form of times, the empty query, and cursors of lists."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from app.domain.errors import BadRequest


def timestamp(seconds: float) -> str:
    """Return the time in RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[float, PlainSerializer(timestamp, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})]


class Shape(BaseModel):
    """What every request's model has: no unknown fields, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NoQuery(Shape):
    """Nothing."""


def cursor_of(sequence: int) -> str:
    """Return the opaque cursor of a place in the list."""
    return base64.urlsafe_b64encode(f"s{sequence}".encode()).decode().rstrip("=")


def sequence_of(cursor: str) -> int:
    """Return the place that a cursor names. Raises: BadRequest."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadRequest("cursor: is not one that this service gave out.") from error
    if not (text[:1] == "s" and text[1:].isdigit() and len(text) < 20):
        raise BadRequest("cursor: is not one that this service gave out.")
    return int(text[1:])
