"""What `podwire run` sends: the command line's words turned into the body of a submission. The service checks the values."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli.errors import Stop

_AMOUNTS = ("cpu", "memory", "disk", "timeout", "queue_timeout", "grace", "output_limit")
_LANGUAGES = {".py": "python", ".sh": "bash", ".bash": "bash", ".js": "node", ".mjs": "node"}


def amount(text: str) -> object:
    """Return a plain number as one; `512Mi`, `500m` and `1h30m` go as they are to the service, which knows the units."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def pair(text: str) -> tuple[str, str]:
    """Return the two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def env_name(text: str) -> str:
    """Return the name of a variable; with a value behind it, it is refused without being repeated."""
    if not text or "=" in text:
        raise argparse.ArgumentTypeError("give the name alone: the value is taken from this command's environment")
    return text


def split_command(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return (what argparse shall read, the command behind a `--` that no script precedes or None)."""
    if "--" not in words:
        return list(words), None
    cut = list(words).index("--")
    return list(words[:cut]), list(words[cut + 1 :])


def submission(options: argparse.Namespace, tail: list[str] | None) -> dict[str, object]:
    """Return the body of the request. Raises: Stop for what cannot be read here."""
    body: dict[str, object] = {"priority": options.priority, "stdin": options.stdin}
    body |= _code(options, tail)
    for name in _AMOUNTS:
        if getattr(options, name) is not None:
            body[name] = getattr(options, name)
    if env := _environment(options):
        body["env"] = env
    if options.retry or options.max_attempts is not None:
        body["retry"] = {"max_attempts": options.max_attempts, "reasons": options.retry or []}
    if options.label:
        body["labels"] = dict(options.label)
    if options.file:
        body["files"] = {Path(path).name: read_text(path) for path in options.file}
    return body


def _environment(options: argparse.Namespace) -> dict[str, object]:
    env: dict[str, object] = dict(options.env or ())
    for name in options.secret_env or ():
        if name not in os.environ:
            raise Stop(f"--secret-env {name}: there is no variable {name} in the environment of this command.")
        env[name] = {"value": os.environ[name], "secret": True}
    for name, path in options.secret_env_file or ():
        env[name] = {"value": read_text(path).removesuffix("\n"), "secret": True}
    return env


def _code(options: argparse.Namespace, tail: list[str] | None) -> dict[str, object]:
    words: list[str] = options.words
    if not words:
        if not tail:
            raise Stop("Say what to run: podwire run script.py, or podwire run -- command words")
        image = {"image": options.image} if options.image else {}
        return {"command": tail, **image}
    path, args = words[0], words[1:] + ([] if tail is None else ["--", *tail])
    if path == "-" and options.stdin:
        raise Stop("The script cannot be read from stdin together with --stdin.")
    language = options.language or _LANGUAGES.get(Path(path).suffix.lower())
    if language is None:
        raise Stop(f"The language of {path} is not known from its name; say it with --language.")
    script = sys.stdin.read() if path == "-" else read_text(path)
    image = {"image": options.image} if options.image else {}
    return {"script": script, "language": language, "args": args, **image}


def read_text(path: str) -> str:
    """Return a file's text. Raises: Stop."""
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Stop(f"{path} is not UTF-8 text.") from error
