"""`podwire cancel`: ask for the end of runs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from app.cli.client.http import Api
from app.cli.client.target import find_target
from app.cli.grammar import command


@command("cancel")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
def cancel(runs: Sequence[str]) -> int:
    """Cancel runs."""
    api = Api(find_target())
    for run_id in runs:
        run = api.cancel(run_id)
        print(f"{run_id} {run.get('status')}")
    return 0
