"""`podwire artefacts`: list what a run left to be kept, or fetch one of the files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import BinaryIO
from urllib.parse import quote

import click

from app.cli.client.http import Api, rows, run_path, with_query
from app.cli.client.target import find_target
from app.cli.errors import Stop
from app.cli.grammar import command, files, json_option, option
from app.cli.terminal.harmless import shown
from app.cli.terminal.output import print_json, progress, say
from app.domain.humanize import size


@command("artefacts")
@click.argument("run", metavar="RUN")
@click.argument("name", required=False, metavar="[NAME]", help="the file to fetch, to stdout")
@option("-o", "--output", metavar="FILE", shell_complete=files, help="write it to this file")
@option("--attempt", type=int, help="of which attempt (default: the last that left any)")
@json_option()
def artefacts(run: str, name: str | None, output: str | None, attempt: int | None, as_json: bool) -> int:
    """List the files that a run left to be kept, or fetch one."""
    api = Api(find_target())
    path = run_path(run) + "/artefacts"
    if name:
        return _fetch(api, with_query(f"{path}/{quote(name, safe='/')}", {"attempt": attempt}), output)
    pages = list(_pages(api, path, attempt))
    listed = [row for page in pages for row in rows(page)]
    if as_json:
        print_json({**pages[-1], "items": listed})
        return 0
    for row in listed:
        print(f"{row.get('size_bytes')!s:>12}  {row.get('modified_at')}  {shown(str(row.get('name')))}")
    _tell(pages[-1])
    return 0


def _pages(api: Api, path: str, attempt: int | None) -> Iterator[Mapping[str, object]]:
    page = api.get(path, attempt=attempt, limit=1000)
    yield page
    while isinstance(page.get("next"), str):
        page = api.get(str(page["next"]))
        yield page


def _tell(page: Mapping[str, object]) -> None:
    """Say on stderr what the list means."""
    total = page.get("size_bytes")
    if page.get("files"):
        until = f", kept until {page['kept_until']}" if page.get("kept_until") else ""
        amount = size(total) if isinstance(total, int) else "?"
        say(f"{page['files']} files, {amount}{until}")
    elif page.get("state") == "none":
        say("nothing is kept of this run; what is left is collected when its program ends")
    elif not page.get("message"):
        say("the run left nothing")
    if page.get("message"):
        say(f"{page['message']}")


def _fetch(api: Api, path: str, output: str | None) -> int:
    pieces = api.raw(path)
    # A refusal comes with the first piece: before it, no file is made.
    first = next(pieces, b"")
    with _target(output) as file, progress(output) as advance:
        for piece in chain((first,), pieces):
            file.write(piece)
            advance(len(piece))
        file.flush()
    return 0


def _target(path: str | None) -> AbstractContextManager[BinaryIO]:
    if path is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return open(path, "wb")  # closed by the caller
    except OSError as error:
        raise Stop(f"{path} cannot be written: {error.strerror}.") from error
