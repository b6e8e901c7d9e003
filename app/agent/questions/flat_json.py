"""JSON for the agent. The few flat objects that every run needs before its first byte are read and written without the json
package, whose import takes longer than everything else until then; for all others it is imported when they come."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FOLLOW = b'{"from": '


def dumps(body: dict[str, object]) -> bytes:
    """Return the object as JSON. Raises: ValueError, TypeError as the json package does."""
    parts = [_flat(value) for value in body.values()]
    if None in parts or not all(_is_plain(key) for key in body):
        import json

        return json.dumps(body, allow_nan=False).encode()
    return b"{" + b", ".join(f'"{key}": {part}'.encode() for key, part in zip(body, parts, strict=True)) + b"}"


def loads(data: bytes) -> Any:
    """Return what the JSON says. Raises: ValueError, RecursionError."""
    digits = data[len(_FOLLOW) : -1]
    if data.startswith(_FOLLOW) and data.endswith(b"}") and digits.isdigit() and (len(digits) == 1 or digits[:1] != b"0"):
        return {"from": int(digits)}
    import json

    return json.loads(data)


def _flat(value: object) -> str | None:
    """Return a value that is written as it is, None when it needs the package."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float and abs(value) < 1e15:
        return repr(value)
    if type(value) is str and _is_plain(value):
        return f'"{value}"'
    return None


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
