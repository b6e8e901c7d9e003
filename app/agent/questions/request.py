"""What running code writes to ask, and what it reads as the reply: both forms, JSON and lines. The files: question_files.py.

JSON is for programs (podwire.py). Lines are for the shell, where JSON is hard to write: a name on a line of its own, then the
value's lines, each after one space. The reply has the form of the request; in lines it is `STATE value` or `STATE none`, then
the value as a shell wants it, or a sentence that says why there is none.
"""

from __future__ import annotations

# The json package is imported where it is used: nobody's first byte should wait for it.

MAX_REQUEST_BYTES = 64 * 1024
FIELDS = ("text", "kind", "choices", "default", "schema", "timeout_s", "who")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Refused(ValueError):
    """The request cannot be understood; the message is for the person who wrote it."""


class Request:
    """One question as it was asked. `lines` tells which form the reply must have."""

    def __init__(self, body: dict[str, object], lines: bool) -> None:
        self.body = body
        self.lines = lines


def parse(data: bytes) -> Request:
    """Read a request in either form. Whether it is a good question is decided by the supervisor. Raises: Refused."""
    if len(data) > MAX_REQUEST_BYTES:
        raise Refused(f"The question is larger than {MAX_REQUEST_BYTES} bytes.")
    if data.lstrip()[:1] == b"{":
        return Request(_sound(_from_json(data)), lines=False)
    return Request(_sound(_from_lines(data.decode(errors="replace"))), lines=True)


def wants_lines(data: bytes) -> bool:
    """Say in which form to refuse what could not be parsed."""
    return data.lstrip()[:1] != b"{"


def _from_json(data: bytes) -> dict[str, object]:
    import json

    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused("The question is not valid JSON.") from None
    return {name: body[name] for name in FIELDS if body.get(name) is not None}


def _from_lines(text: str) -> dict[str, object]:
    fields: list[tuple[str, list[str]]] = []
    for line in text.removesuffix("\n").split("\n"):
        if not line.startswith(" "):
            fields.append((line, []))
        elif fields:
            fields[-1][1].append(line[1:])
    given = [(name, "\n".join(lines)) for name, lines in fields]
    body: dict[str, object] = {name: value for name, value in given if name in FIELDS and value}
    choices = [value for name, value in given if name == "choice"]
    if choices:
        body["choices"] = choices
        body.setdefault("kind", "choice")
    if "timeout_s" in body:
        body["timeout_s"] = seconds(str(body["timeout_s"]))
    for name in ("default", "schema"):
        if name in body:
            body[name] = _typed(name, str(body[name]), str(body.get("kind", "text")))
    return body


def seconds(text: str) -> float:
    """Read `90`, `90s`, `15m`, `2h` or `1d`. Raises: Refused."""
    unit = UNITS.get(text[-1:])
    try:
        return float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        raise Refused(f"The timeout {text[:40]!r} is not a number of seconds, nor one with s, m, h or d.") from None


def _typed(name: str, text: str, kind: str) -> object:
    if name == "schema" or kind == "form":
        return _json(name, text)
    if kind == "number":
        return _json(name, text)
    if kind == "confirm":
        if text not in ("yes", "no"):
            raise Refused("The default of a confirmation is yes or no.")
        return text == "yes"
    return text


def _json(name: str, text: str) -> object:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(f"The {name} is not valid JSON.") from None


def _sound(body: dict[str, object]) -> dict[str, object]:
    """Refuse what JSON in UTF-8 cannot carry: NaN, infinities and lone surrogates; and nesting that breaks a reader."""
    import json

    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refused("The question holds a value that JSON cannot carry.") from None
    return body


def question(number: int, body: dict[str, object]) -> bytes:
    """Return the payload of the QUESTION record."""
    import json

    whole: dict[str, object] = {"number": number, "text": None, "kind": "text", "choices": None, "default": None}
    whole |= {"schema": None, "timeout_s": None, "who": "owner"}
    return json.dumps(whole | body).encode()


def reply(lines: bool, state: str, value: object, default: object, message: str | None) -> bytes:
    """Return the contents of the reply file. An expired question is answered by its default where it has one."""
    import json

    if state == "expired" and value is None:
        value = default
    has_value = value is not None and state in ("answered", "expired")
    if not lines:
        return json.dumps({"state": state, "value": value if has_value else None, "message": message}).encode()
    text = shell_text(value) if has_value else message or f"The question was {state}."
    return f"{state} {'value' if has_value else 'none'}\n{text}\n".encode(errors="replace")


def shell_text(value: object) -> str:
    """Return a value as the shell wants it: text as it is, a confirmation as yes or no, a form as JSON."""
    import json

    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value)
