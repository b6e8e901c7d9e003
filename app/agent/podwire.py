"""Ask a person from inside a run: `import podwire`. One file, standard library only, Python 3.7 or later.

    name = podwire.ask("What is your name?")
    if podwire.confirm("Deploy to production?", timeout=3600, default=False): ...
    target = podwire.choice("Where to?", ["staging", "production"])

Every function waits until a person has answered, and returns the answer. It raises Expired when the time is over and there
is no default, Closed when the run ends first, and Refused when the question itself is not acceptable.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from contextlib import suppress
from typing import Any, Optional, Sequence  # noqa: UP035  # older Pythons

__all__ = ["Closed", "Expired", "NotAnswered", "Refused", "ask", "choice", "confirm", "form", "number", "secret", "text"]

LOOK_EVERY_S = 0.05


class NotAnswered(Exception):
    """There is no answer."""


class Expired(NotAnswered):
    """The time to answer is over, and the question has no default."""


class Closed(NotAnswered):
    """The question was closed without an answer."""


class Refused(NotAnswered):
    """The question was not accepted; the message says why."""


def ask(
    text: str,
    kind: str = "text",
    choices: Optional[Sequence[str]] = None,  # noqa: UP045
    default: Any = None,
    timeout: Optional[float] = None,  # noqa: UP045
    schema: Optional[dict[str, Any]] = None,  # noqa: UP045
    who: str = "owner",
) -> Any:
    """Ask and wait for the answer.

    `kind` is text, choice, confirm, number, secret or form; `timeout` is in seconds; `who` may answer: owner or anyone.
    """
    body = {"text": text, "kind": kind, "choices": list(choices) if choices is not None else None, "default": default}
    body.update({"timeout_s": timeout, "schema": schema, "who": who})
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed or replaced by the program
            stream.flush()
    return _value(_wait(_hand_in(json.dumps(body))))


def text(question: str, **options: Any) -> str:
    """Ask for text."""
    return str(ask(question, "text", **options))


def secret(question: str, **options: Any) -> str:
    """Ask for text that is shown and kept nowhere."""
    return str(ask(question, "secret", **options))


def confirm(question: str, **options: Any) -> bool:
    """Ask for yes or no."""
    return bool(ask(question, "confirm", **options))


def choice(question: str, choices: Sequence[str], **options: Any) -> str:
    """Let a person choose one of several texts."""
    return str(ask(question, "choice", choices=choices, **options))


def number(question: str, **options: Any) -> float:
    """Ask for a number: an int where it is whole."""
    value = ask(question, "number", **options)
    return value  # type: ignore[no-any-return]


def form(question: str, schema: dict[str, Any], **options: Any) -> Any:
    """Ask for a JSON value that fits the JSON Schema."""
    return ask(question, "form", schema=schema, **options)


def _hand_in(body: str) -> str:
    """Write the request, ring, and return the path where the reply will be."""
    folder = os.environ.get("PODWIRE_DIR")
    if not folder:
        raise RuntimeError("podwire works inside a Podwire run only (PODWIRE_DIR is not set).")
    name = os.path.join(folder, "ask", "py-" + uuid.uuid4().hex)
    with open(name + ".draft", "w", encoding="utf-8") as file:
        file.write(body)
    os.rename(name + ".draft", name + ".ask")
    with suppress(OSError):  # without the bell the agent looks twice a second
        bell = os.open(os.path.join(folder, "bell"), os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(bell, b".")
        finally:
            os.close(bell)
    return name + ".reply"


def _wait(path: str) -> dict[str, Any]:
    while True:
        try:
            with open(path, encoding="utf-8") as file:
                reply = json.load(file)
        except FileNotFoundError:
            time.sleep(LOOK_EVERY_S)
            continue
        with suppress(OSError):
            os.unlink(path)
        return dict(reply)


def _value(reply: dict[str, Any]) -> Any:
    state, value, message = reply["state"], reply.get("value"), reply.get("message")
    if state == "answered" or (state == "expired" and value is not None):
        return value
    errors = {"expired": Expired, "closed": Closed}
    error = errors.get(state, Refused)
    raise error(message or error.__doc__)
