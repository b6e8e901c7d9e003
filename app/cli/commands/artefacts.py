"""`podwire artefacts`: list what a run left to be kept, or fetch one of the files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO
from urllib.parse import quote

from app.cli.client.http import Api, run_path, with_query
from app.cli.client.target import find_target
from app.cli.commands.queries import rows
from app.cli.errors import Stop
from app.domain.humanize import size


def artefacts(options: argparse.Namespace) -> int:
    """Print the list, or write one file to stdout or to the file that is named."""
    api = Api(find_target())
    if options.path:
        return _fetch(api, options)
    path = run_path(options.run) + "/artefacts"
    pages = list(_pages(api, path, options.attempt))
    files = [row for page in pages for row in rows(page)]
    if options.json:
        print(json.dumps({**pages[-1], "items": files}, ensure_ascii=False, indent=2))
        return 0
    for row in files:
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
        print(f"podwire: {page['files']} files, {amount}{until}", file=sys.stderr)
    elif page.get("state") == "none":
        print("podwire: nothing is kept of this run; what is left is collected when its program ends", file=sys.stderr)
    elif not page.get("message"):
        print("podwire: the run left nothing", file=sys.stderr)
    if page.get("message"):
        print(f"podwire: {page['message']}", file=sys.stderr)


def _fetch(api: Api, options: argparse.Namespace) -> int:
    path = f"{run_path(options.run)}/artefacts/{quote(options.path, safe='/')}"
    pieces = api.raw(with_query(path, {"attempt": options.attempt}))
    # A refusal comes with the first piece: before it, no file is made.
    first = next(pieces, b"")
    with _target(options.output) as file:
        file.write(first)
        for piece in pieces:
            file.write(piece)
        file.flush()
    return 0


def _target(path: str | None) -> AbstractContextManager[BinaryIO]:
    if path is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return open(path, "wb")  # closed by the caller
    except OSError as error:
        raise Stop(f"{path} cannot be written: {error.strerror}.") from error


def shown(name: str) -> str:
    """Return a name that a program chose in a form that does a terminal no harm."""
    return name if name.isprintable() else json.dumps(name)
