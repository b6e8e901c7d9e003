"""JSON that strangers wrote, read at every door in the same way: bounded in depth, in count and in the size of its numbers.

Whatever the text is, nothing but NotJson and InvalidInput leaves here. What the values mean is for whoever asked for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from app.domain.errors import FieldError, InvalidInput, NotJson

MAX_DEPTH = 64
MAX_VALUES = 100_000
MAX_INTEGER = 2**63 - 1


def read_json(text: bytes | str, max_bytes: int | None = None, *, nul: bool = False) -> object:
    """Return the value, which everything behind this can encode and store; `nul` lets texts hold NUL characters.

    Raises: NotJson, InvalidInput with a path for what is JSON but cannot be kept.
    """
    try:
        if max_bytes is not None and len(text) > max_bytes:
            raise NotJson(f"This is larger than {max_bytes} bytes.")
        value = json.loads(text.decode() if isinstance(text, bytes) else text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError, JSONDecodeError and numbers of thousands of digits are all ValueErrors.
        raise NotJson() from error
    if faults := list(json_faults(value, nul=nul)):
        raise InvalidInput(faults[:100])
    return value


def json_faults(value: object, root: str = "", *, nul: bool = False) -> Iterator[FieldError]:
    """Yield what cannot be kept of a value that JSON's parser made, with its path below `root`."""
    # A stack, since the depth is the sender's choice.
    start: tuple[int | str, ...] = (root,) if root else ()
    stack: list[tuple[tuple[int | str, ...], object]] = [(start, value)]
    seen = 0
    while stack:
        path, item = stack.pop()
        seen += 1
        if len(path) > MAX_DEPTH or seen > MAX_VALUES:
            yield FieldError(path_text(path[:3]), "is nested too deeply or has too many values")
            return
        if isinstance(item, dict):
            stack += [((*path, key), inner) for key, inner in item.items()]
            yield from (FieldError(path_text((*path, key)), fault) for key in item if (fault := _fault(key, nul)))
        elif isinstance(item, list):
            stack += [((*path, number), inner) for number, inner in enumerate(item)]
        elif fault := _fault(item, nul):
            yield FieldError(path_text(path), fault)


def is_finite(number: int | float) -> bool:
    """Say whether the number is one that JSON, a double and 64 bits can all carry. Never raises, whatever its size."""
    return abs(number) <= MAX_INTEGER if isinstance(number, int) else math.isfinite(number)


def path_text(location: tuple[int | str, ...]) -> str:
    """Return a path such as `files[2].name`, safe in every answer and log."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else ("." if path else "") + shown(part)
    return path or "body"


def shown(text: str) -> str:
    """Return a name that came from outside in a form that is safe in every answer and log."""
    return text[:100].encode("unicode_escape").decode("ascii")


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _fault(item: object, nul: bool) -> str | None:
    if isinstance(item, str):
        return _text_fault(item, nul)
    if isinstance(item, float) and not math.isfinite(item):
        return "is not a finite number"
    if isinstance(item, int) and abs(item) > MAX_INTEGER:
        return "is too large a number"
    return None


def _text_fault(text: str, nul: bool) -> str | None:
    if "\0" in text and not nul:
        return "must not contain a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must not contain a lone surrogate"
    return None
