"""What `podwire run` sends: the command line's words turned into the body of a submission. The service checks the values."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.errors import Stop
from app.domain.runs.run import Priority

_AMOUNTS = ("cpu", "memory", "disk", "timeout", "queue_timeout", "grace", "output_limit")
_LANGUAGES = {".py": "python", ".sh": "bash", ".bash": "bash", ".js": "node", ".mjs": "node"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The words of `podwire run`: its options, and in `words` all from SCRIPT on, or from the `--` that no script precedes."""

    words: Sequence[str] = ()
    language: str | None = None
    image: str | None = None
    priority: str = Priority.NORMAL.value
    cpu: object = None
    memory: object = None
    disk: object = None
    timeout: object = None
    queue_timeout: object = None
    grace: object = None
    output_limit: object = None
    env: Sequence[tuple[str, str]] = ()
    secret_env: Sequence[str] = ()
    secret_env_file: Sequence[tuple[str, str]] = ()
    label: Sequence[tuple[str, str]] = ()
    file: Sequence[str] = ()
    retry: Sequence[str] = ()
    max_attempts: int | None = None
    stdin: bool = False


def submission(options: RunOptions) -> dict[str, object]:
    """Return the body of the request. Raises: Stop for what cannot be read here."""
    body: dict[str, object] = {"priority": options.priority, "stdin": options.stdin}
    body |= _code(options)
    for name in _AMOUNTS:
        if getattr(options, name) is not None:
            body[name] = getattr(options, name)
    if env := _environment(options):
        body["env"] = env
    if options.retry or options.max_attempts is not None:
        body["retry"] = {"max_attempts": options.max_attempts, "reasons": list(options.retry)}
    if options.label:
        body["labels"] = dict(options.label)
    if options.file:
        body["files"] = {Path(path).name: read_text(path) for path in options.file}
    return body


def _environment(options: RunOptions) -> dict[str, object]:
    env: dict[str, object] = dict(options.env)
    for name in options.secret_env:
        if name not in os.environ:
            raise Stop(f"--secret-env {name}: there is no variable {name} in the environment of this command.")
        env[name] = {"value": os.environ[name], "secret": True}
    for name, path in options.secret_env_file:
        env[name] = {"value": read_text(path).removesuffix("\n"), "secret": True}
    return env


def _code(options: RunOptions) -> dict[str, object]:
    image = {"image": options.image} if options.image else {}
    words = list(options.words)
    if words in ([], ["--"]):
        raise Stop("Say what to run: podwire run script.py, or podwire run -- command words")
    if words[0] == "--":
        return {"command": words[1:], **image}
    path, args = words[0], words[1:]
    if path == "-" and options.stdin:
        raise Stop("The script cannot be read from stdin together with --stdin.")
    language = options.language or _LANGUAGES.get(Path(path).suffix.lower())
    if language is None:
        raise Stop(f"The language of {path} is not known from its name; say it with --language.")
    script = sys.stdin.read() if path == "-" else read_text(path)
    return {"script": script, "language": language, "args": args, **image}


def read_text(path: str) -> str:
    """Return a file's text. Raises: Stop."""
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Stop(f"{path} is not UTF-8 text.") from error
