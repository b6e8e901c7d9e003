"""Following one run in the terminal: its stream and the console beside it, to the run's end."""

from __future__ import annotations

from collections.abc import Mapping

from app.cli.client.follow import Follower
from app.cli.client.stream import watch
from app.cli.client.target import Target
from app.cli.terminal.console import Console
from app.cli.terminal.view import View, end_sentence, exit_code
from app.domain.runs.run import Status


def follow(target: Target, run_id: str, console: Console, view: View) -> int:
    """Show the run to its end and return its exit code; a second Ctrl-C leaves at once."""
    with console.interruptible():
        try:
            end = watch(target, run_id, Follower(), view.show, console)
        except KeyboardInterrupt:
            console.say(f"left; the run goes on without you: podwire logs -f {run_id}")
            raise
    _report(end, console)
    return exit_code(end)


def _report(end: Mapping[str, object], console: Console) -> None:
    if end.get("status") != Status.SUCCEEDED or end.get("withheld_bytes"):
        console.say(end_sentence(end))
