"""Recorded output as plain text, for pages without JavaScript."""

from __future__ import annotations

import re

from app.domain.runs.run import Run
from app.service import queries
from app.service.services import Services

TAIL_BYTES = 32 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def tail(services: Services, run: Run) -> tuple[str, int]:
    """Return the end of the output as text, and how many bytes come before it."""
    _, size = queries.output_span(services, run)
    start = max(0, size - TAIL_BYTES)
    return plain_text(b"".join(queries.output(services, run, start, size))), start


def plain_text(data: bytes) -> str:
    """Return output without escape sequences, each line as its carriage returns left it."""
    text = _ESCAPES.sub("", data.decode(errors="replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(_CONTROLS.sub("", line) for line in lines)
