"""`podwire logs`: what a run wrote so far, or all of it to its end."""

from __future__ import annotations

import sys

import click

from app.cli.client.http import Api, run_path
from app.cli.client.target import find_target
from app.cli.grammar import command, json_option, option


@command("logs")
@click.argument("run", metavar="RUN")
@option("-f", "--follow", "follows", is_flag=True, help="go on until the run ends; stdout and stderr apart")
@option("--raw", is_flag=True, help="with -f: all output to stdout and nothing but output")
@json_option()
def logs(run: str, follows: bool, raw: bool, as_json: bool) -> int:
    """Print a run's output."""
    target = find_target()
    api = Api(target)
    run_id = str(api.run(run)["id"])
    if not follows and not as_json:
        for piece in api.raw(f"{run_path(run_id)}/output"):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    from app.cli.following import follow
    from app.cli.terminal.console import Console
    from app.cli.terminal.view import EXIT_CANCELLED, BytesView, JsonView

    console = Console(api, run_id, asks=False, cancels=False)
    try:
        follow(target, run_id, console, JsonView(console) if as_json else BytesView(console, plain=raw))
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    return 0
