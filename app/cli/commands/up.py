"""`podwire up`: everything on this machine with one command. What it does is in app.cli.embedded, loaded when it is done."""

from __future__ import annotations

from pathlib import Path

from app.cli.client.target import state_folder
from app.cli.grammar import command, files, option

_FOLDER = "folder of the database and all else (default: $PODWIRE_HOME, else ./var)"


@command("up")
@option("--once", is_flag=True, help="stop after the first run and exit with its exit code")
@option("--port", type=int, help="port to serve on at 127.0.0.1 (default 8080; 0 = any free one)")
@option("--state", metavar="DIR", shell_complete=files, help=_FOLDER)
@option("--no-example", is_flag=True, help="start without the first run")
def up(state: str | None, once: bool, port: int | None, no_example: bool) -> int:
    """Start everything on this machine, show a first run, serve until Ctrl-C."""
    from app.cli.embedded.service import StartOptions, serve

    folder = Path(state).resolve() if state else state_folder()
    return serve(StartOptions(once=once, port=port, no_example=no_example), folder)
