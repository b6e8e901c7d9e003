"""`podwire run`: submit a run, follow it in the terminal, leave with its exit code."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from app.cli.client.http import Api
from app.cli.client.submission import RunOptions, submission
from app.cli.client.target import find_target
from app.cli.grammar import command, files, json_option, option
from app.domain.runs.run import Priority

_SECRET = "secret environment variable, whose value is never shown: "


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
    """Return the two sides of NAME=VALUE. Raises: BadParameter."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def env_name(text: str) -> str:
    """Return the name of a variable. Raises: BadParameter for one with a value behind it, which is not repeated."""
    if not text or "=" in text:
        raise click.BadParameter("give the name alone: the value is taken from this command's environment")
    return text


# Everything from SCRIPT on is the program's own, options too.
@command("run", context_settings={"allow_interspersed_args": False})
@option("--language", help="language of the script (default: by the file's name)")
@option("--image", help="container image to run in")
@option("--priority", type=click.Choice([each.value for each in Priority]), default=Priority.NORMAL.value)
@option("--cpu", type=amount, help="cores, such as 0.5 or 500m")
@option("--memory", type=amount, help="such as 512Mi")
@option("--disk", type=amount, help="such as 1Gi")
@option("--timeout", type=amount, help="longest time to run, such as 15m")
@option("--queue-timeout", type=amount, help="longest time to wait in the queue, such as 1h")
@option("--grace", type=amount, help="time between the request to stop and the kill, such as 10s")
@option("--output-limit", type=amount, help="how much output is kept, such as 64Mi")
@option("--env", type=pair, multiple=True, metavar="NAME=VALUE", help="environment variable; may be repeated")
@option("--secret-env", type=env_name, multiple=True, metavar="NAME", help=_SECRET + "from this command's own")
@option("--secret-env-file", type=pair, multiple=True, metavar="NAME=PATH", help=_SECRET + "from a file")
@option("--label", type=pair, multiple=True, metavar="NAME=VALUE", help="label; may be repeated")
@option(
    "--file", multiple=True, metavar="PATH", shell_complete=files, help="text file to place beside the script; may be repeated"
)
@option("--retry", multiple=True, metavar="REASON", help="try again after this reason, too; may be repeated")
@option("--max-attempts", type=int, metavar="N", help="attempts in all; 1 = never try again")
@option("--stdin", is_flag=True, help="pass this command's stdin on to the program")
@option("--detach", is_flag=True, help="print the run's id and leave")
@json_option("print every event as a line of JSON")
@click.argument("words", nargs=-1, metavar="SCRIPT [ARG...] | -- COMMAND [ARG...]", shell_complete=files)
def run(detach: bool, as_json: bool, **given: Any) -> int:
    """Run a script, or a command after --, and follow it to its end."""
    options = RunOptions(**given)
    target = find_target()
    api = Api(target)
    created = api.submit(submission(options))
    run_id = str(created["id"])
    if detach:
        print(json.dumps(created) if as_json else run_id)
        return 0
    from app.cli.following import follow
    from app.cli.terminal.console import Console
    from app.cli.terminal.view import BytesView, JsonView

    asks = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    console = Console(api, run_id, asks=asks, feeds=options.stdin)
    print(f"podwire: {run_id}", file=sys.stderr, flush=True)
    return follow(target, run_id, console, JsonView(console) if as_json else BytesView(console))
