"""The shapes of what clients send on streams: where to begin, and the commands of a WebSocket. Part of the API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.web.api.shapes import Shape


class StreamQuery(Shape):
    """Where to begin."""

    position: str = Field("0-0", max_length=64, description="epoch-seq of the last event that was seen")


class AnswerFrame(Shape):
    """Answer a question."""

    type: Literal["answer"]
    id: str = Field(min_length=1, max_length=128)
    question: str = Field(max_length=128)
    value: object


class InputFrame(Shape):
    """Send standard input."""

    type: Literal["input"]
    id: str = Field(min_length=1, max_length=128)
    data: str = ""
    eof: bool = False


class CancelFrame(Shape):
    """Cancel the run."""

    type: Literal["cancel"]
    id: str = Field(min_length=1, max_length=128)


class PingFrame(Shape):
    """Ask for a sign of life."""

    type: Literal["ping"]
    id: str = Field(min_length=1, max_length=128)
