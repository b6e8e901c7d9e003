"""`podwire queue`: the queued runs in the order in which they start; or let the queue start and take in runs, or not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click

from app.cli.client.http import Api, as_row, rows
from app.cli.client.target import find_target
from app.cli.grammar import command, json_option
from app.cli.terminal.output import print_json, print_table

GATES = {"pause": ("paused", True), "resume": ("paused", False), "close": ("closed", True), "open": ("closed", False)}


@command("queue")
@click.argument(
    "action",
    required=False,
    type=click.Choice(list(GATES)),
    metavar="[ACTION]",
    help="pause: start nothing; close: take nothing in; resume and open end that (admins)",
)
@json_option()
def queue(action: str | None, as_json: bool) -> int:
    """List the queued runs in the order in which they start, or steer the queue."""
    api = Api(find_target())
    if action:
        name, on = GATES[action]
        state = api.send("PATCH", "/v1/admin/queue", {name: on})
        print(json.dumps(state) if as_json else f"paused: {_yes(state, 'paused')}, closed: {_yes(state, 'closed')}")
        return 0
    found = api.get("/v1/queue")
    if as_json:
        print_json(found)
    else:
        print_table(("PLACE", "ID", "PRIORITY", "CREATED", "WHAT"), [_cells(item) for item in rows(found)])
    return 0


def _yes(state: Mapping[str, object], name: str) -> str:
    return "yes" if state.get(name) else "no"


def _cells(item: Mapping[str, object]) -> Sequence[object]:
    run = as_row(item.get("run"))
    return (item.get("position"), run.get("id"), run.get("priority"), run.get("created_at"), run.get("title"))
