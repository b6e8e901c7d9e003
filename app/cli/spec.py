"""What `podwire run` sends: the command line's words turned into the body of a submission. The service checks the values."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli.errors import Stop

_LANGUAGES = {".py": "python", ".sh": "bash", ".bash": "bash", ".js": "node", ".mjs": "node"}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\Z", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)\Z", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def size_bytes(text: str) -> int:
    """Return the bytes that `512M`, `1.5GiB` or `1000000` mean; every unit is a power of 1024."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512M or 2G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def duration_s(text: str) -> float:
    """Return the seconds that `90`, `15m`, `2h` or `1d` mean."""
    match = _TIME.match(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 15m or 2h")
    return float(match[1]) * _SECONDS[match[2].lower()]


def pair(text: str) -> tuple[str, str]:
    """Return the two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


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
    for name in ("cpu", "memory", "timeout", "queue_timeout"):
        if getattr(options, name) is not None:
            body[name] = getattr(options, name)
    if options.env:
        body["env"] = dict(options.env)
    if options.label:
        body["labels"] = dict(options.label)
    if options.file:
        body["files"] = {Path(path).name: read_text(path) for path in options.file}
    return body


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
