"""`podwire audit`: who steered what."""

from __future__ import annotations

import click

from app.cli.client.http import Api, rows
from app.cli.client.target import find_target
from app.cli.grammar import command, json_option
from app.cli.terminal.output import print_json, print_table

NAMES = ("at", "by", "action", "subject", "before", "after")


@command("audit")
@click.argument("subject", required=False, help="a run's id, or the scope of a limit; without it all (admins)")
@json_option()
def audit(subject: str | None, as_json: bool) -> int:
    """List who steered what, newest first."""
    found = rows(Api(find_target()).get("/v1/audit", subject=subject))
    if as_json:
        print_json(found)
    else:
        print_table(tuple(name.upper() for name in NAMES), [tuple(row.get(name) for name in NAMES) for row in found])
    return 0
