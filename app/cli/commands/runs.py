"""`podwire run` and `podwire logs -f`: submit a run, follow it in the terminal, leave with its exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from app.cli.client.follow import Event, Follower
from app.cli.client.http import Api, Target, run_path
from app.cli.client.stream import watch
from app.cli.client.submission import submission
from app.cli.client.target import find_target
from app.cli.terminal.console import Console
from app.cli.terminal.view import EXIT_CANCELLED, BytesView, JsonView, end_sentence, exit_code
from app.domain.runs.run import Status


def run(options: argparse.Namespace) -> int:
    """Submit, follow to the end, and return the run's exit code."""
    target = find_target()
    body = submission(options, options.tail)
    created = Api(target).submit(body)
    run_id = str(created["id"])
    if options.detach:
        print(json.dumps(created) if options.json else run_id)
        return 0
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not options.json
    console = Console(Api(target), run_id, asks=asks, feeds=options.stdin)
    print(f"podwire: {run_id}", file=sys.stderr, flush=True)
    return follow(target, run_id, console, JsonView(console) if options.json else BytesView(console))


def logs(options: argparse.Namespace) -> int:
    """Print what a run wrote so far, or follow it to its end."""
    target = find_target()
    api = Api(target)
    run_id = str(api.run(options.run)["id"])
    if not options.follow and not options.json:
        for piece in api.raw(f"{run_path(run_id)}/output"):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    console = Console(api, run_id, asks=False, cancels=False)
    view = JsonView(console) if options.json else BytesView(console, plain=options.raw)
    try:
        follow(target, run_id, console, view)
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    return 0


def follow(target: Target, run_id: str, console: Console, view: BytesView | JsonView) -> int:
    """Show the run to its end and return its exit code; a second Ctrl-C leaves at once."""
    with console.interruptible():
        try:
            end = watch(target, run_id, Follower(), view.show, console)
        except KeyboardInterrupt:
            console.say(f"left; the run goes on without you: podwire logs -f {run_id}")
            raise
    _report(end, console)
    return exit_code(end)


def _report(end: Event | Mapping[str, object], console: Console) -> None:
    if end.get("status") != Status.SUCCEEDED or end.get("withheld_bytes"):
        console.say(end_sentence(end))
