"""How a followed run appears: the program's bytes exactly as it wrote them and sentences beside them, or events as JSON lines."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from typing import Protocol

from app.cli.client.follow import Event, Hello, Item, Missing, Reset, Told, Waits
from app.cli.terminal.console import Console
from app.domain.runs.events import Kind
from app.domain.runs.run import Status

EXIT_FAILED = 1
EXIT_TIMED_OUT = 124
EXIT_CANCELLED = 130


class View(Protocol):
    """Shows what a follower tells."""

    def show(self, item: Item) -> None:
        """Show one item."""


class BytesView:
    """The program's output on this process's own stdout and stderr. `plain` = nothing else is shown, and all of it on stdout."""

    def __init__(self, console: Console, *, plain: bool = False) -> None:
        """Show through the console what is not output."""
        self._console, self._plain = console, plain
        self._waited: str | None = None

    def show(self, item: Item) -> None:
        """Show one item."""
        if isinstance(item, Told):
            self._told(item)
        elif isinstance(item, Missing):
            self._console.say(f"the output from byte {item.first} to {item.last} is missing")
        elif isinstance(item, Waits) and not self._plain and item.message != self._waited:
            self._waited = item.message
            self._console.say(item.message)

    def _told(self, told: Told) -> None:
        kind = told.event.get("kind")
        if kind == Kind.OUTPUT:
            self._write(str(told.event.get("stream")), told.data)
        elif told.again or self._plain:
            return
        elif kind == Kind.QUESTION:
            self._console.question(_mapping(told.event.get("question")))
        elif kind == Kind.ANSWER:
            self._console.settled(str(told.event.get("question_id")), answer_sentence(told.event))
        elif kind == Kind.STATUS and told.event.get("status") == Status.QUEUED:
            self._console.begin_again(str(told.event.get("message")))
        elif kind == Kind.NOTICE:
            self._console.say(str(told.event.get("message")))

    def _write(self, stream: str, data: bytes) -> None:
        target = sys.stderr.buffer if stream == "stderr" and not self._plain else sys.stdout.buffer
        target.write(data)
        target.flush()


class JsonView:
    """Every event as one line of JSON, and a line for each reset; nothing else on stdout."""

    def __init__(self, console: Console) -> None:
        """Sentences about the connection go to the console."""
        self._console = console

    def show(self, item: Item) -> None:
        """Print events and resets."""
        if isinstance(item, Told):
            self._line(item.event)
        elif isinstance(item, Reset):
            self._line({"kind": "reset", "epoch": item.epoch, "seq": item.seq})
        elif isinstance(item, Hello | Waits):
            return

    def _line(self, value: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.flush()


def answer_sentence(event: Event) -> str:
    """Say what became of a question."""
    state, by = event.get("state"), event.get("by")
    value = "" if event.get("value") is None else _text(event.get("value"))
    if state == "closed":
        return "the question was closed"
    if state == "expired" or not by:
        # By nobody: the question's default was taken.
        return "nobody answered in time" + (f"; taken: {value}" if value else "")
    return f"answered by {by}" + (f": {value}" if value else "")


def exit_code(end: Mapping[str, object]) -> int:
    """Return the exit code for a run's end: its own, 128 + signal, 124 timed out, 130 cancelled, else 1."""
    status, code, name = end.get("status"), end.get("exit_code"), end.get("signal")
    if status == Status.SUCCEEDED:
        return 0
    if status == Status.TIMED_OUT:
        return EXIT_TIMED_OUT
    if status == Status.CANCELLED:
        return EXIT_CANCELLED
    if isinstance(name, str) and name in signal.Signals.__members__:
        return 128 + signal.Signals[name].value
    return code if isinstance(code, int) and 0 < code < 256 else EXIT_FAILED


def end_sentence(end: Mapping[str, object]) -> str:
    """Return how the run ended, as a sentence."""
    withheld = end.get("withheld_bytes")
    more = f" {withheld} bytes of output above the limit were not kept." if withheld else ""
    return f"{end.get('message') or end.get('status')}{more}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
