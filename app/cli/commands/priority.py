"""`podwire priority`: another place in the queue for a run."""

from __future__ import annotations

import click

from app.cli.client.http import Api, as_row, run_path
from app.cli.client.target import find_target
from app.cli.grammar import command
from app.cli.terminal.output import put
from app.domain.runs.run import Priority

FRONT = "front"
CHOICES = [*(each.value for each in Priority), FRONT]


@command("priority")
@click.argument("run", metavar="RUN")
@click.argument("priority", metavar="PRIORITY", type=click.Choice(CHOICES), help=", ".join(CHOICES))
def priority(run: str, priority: str) -> int:
    """Give a queued run another priority, or the first place (admins)."""
    asked: dict[str, object] = {"front": True} if priority == FRONT else {"priority": priority}
    placed = Api(find_target()).send("PATCH", run_path(run), asked)
    put(f"{run} {placed.get('priority')}, {as_row(placed.get('wait')).get('message') or placed.get('status')}")
    return 0
