"""Texts that a program or another person chose, in a form that does a terminal no harm. Pipes get them as they are."""

from __future__ import annotations

import json
from typing import TextIO

LAYOUT = "\n\t"


def harmless(text: str, keep: str = LAYOUT) -> str:
    """Return the text with every character that a terminal would not print (but `keep`) written as JSON writes it: \\u001b."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else json.dumps(char)[1:-1] for char in text)


def for_stream(text: str, stream: TextIO) -> str:
    """Return the text for a stream: harmless where that is a terminal, else as it is."""
    return harmless(text) if stream.isatty() else text


def shown(name: str) -> str:
    """Return a name that a program chose, quoted when it has characters that do not print; the same in pipes."""
    return name if name.isprintable() else json.dumps(name)
