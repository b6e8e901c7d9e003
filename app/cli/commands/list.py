"""`podwire list`: the newest runs, one a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from app.cli.client.http import Api, rows
from app.cli.client.target import find_target
from app.cli.grammar import command, json_option, option
from app.cli.terminal.output import print_json, print_table
from app.domain.runs.run import Priority, Status


@command("list")
@option("--status", multiple=True, type=click.Choice([each.value for each in Status]), metavar="STATUS", help="may be repeated")
@option("--priority", type=click.Choice([each.value for each in Priority]))
@option("--limit", type=int, default=20)
@json_option()
def list_runs(status: Sequence[str], priority: str | None, limit: int, as_json: bool) -> int:
    """List the newest runs."""
    runs = rows(Api(find_target()).get("/v1/runs", status=list(status) or None, priority=priority, limit=limit))
    if as_json:
        print_json(runs)
    else:
        print_table(("ID", "STATUS", "PRIORITY", "CREATED", "WHAT"), [_cells(row) for row in runs])
    return 0


def _cells(run: Mapping[str, object]) -> Sequence[object]:
    return (run.get("id"), run.get("status"), run.get("priority"), run.get("created_at"), run.get("title"))
