"""`podwire limits`: what admins limit, and for whom. Each is one request and what it prints."""

from __future__ import annotations

from collections.abc import Mapping

import click

from app.cli.client.http import Api, rows, with_query
from app.cli.client.target import find_target
from app.cli.errors import Stop
from app.cli.grammar import command, json_option, option
from app.cli.terminal.output import print_json, print_table

PATH = "/v1/admin/limits"
NUMBERS = ("pending", "active", "queue_length", "weight")
COUNTS = ("queued", "active", "waiting")


@command("limits")
@click.argument(
    "action",
    required=False,
    default="show",
    type=click.Choice(["show", "set", "clear"]),
    help="set: set everything of a scope, what is left out gets its default; clear: give it its defaults back",
)
@click.argument(
    "scope",
    required=False,
    metavar="[SCOPE]",
    help="all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE",
)
@option("--pending", type=int, help="runs that are queued, active or waiting")
@option("--active", type=int, help="runs that are active at once")
@option("--queue-length", type=int, help="of all: runs in the queue")
@option("--weight", type=int, help="of an owner or a group: the share among the others")
@option("--group", help="of an owner: the group in which the owner's runs count")
@json_option()
def limits(action: str, scope: str | None, as_json: bool, **options: int | str | None) -> int:
    """Show or change the limits and shares of the queue (admins)."""
    given = {name: options[name] for name in (*NUMBERS, "group") if options[name] is not None}
    page = _ask(Api(find_target()), action, scope, given)
    found = [row for row in rows(page) if action == "show" or row.get("scope") == scope]
    if as_json:
        print_json(found)
        return 0
    if not found:
        print("nothing is set" + (f" of {scope}" if scope else ""))
        return 0
    head = ("SCOPE", *(name.upper().replace("_", " ") for name in NUMBERS), "GROUP", "QUEUED", "ACTIVE", "WAITING")
    print_table(head, [_cells(row) for row in found])
    return 0


def _ask(api: Api, action: str, scope: str | None, given: Mapping[str, object]) -> Mapping[str, object]:
    if action == "show":
        if scope or given:
            raise Stop("podwire limits show prints everything that is set; to set something: podwire limits set SCOPE ...")
        return api.get(PATH)
    if not scope:
        raise Stop("Say whose: all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE.")
    if action == "set":
        if not given:
            raise Stop("Say what to set, such as --active 2; to give the scope its defaults back: podwire limits clear SCOPE")
        return api.send("PUT", PATH, {"scope": scope, **given})
    if given:
        raise Stop("podwire limits clear gives the scope all its defaults back and takes no numbers.")
    return api.delete(with_query(PATH, {"scope": scope}))


def _cells(row: Mapping[str, object]) -> list[object]:
    counts = row.get("counts")
    counted = counts if isinstance(counts, dict) and not str(row.get("scope")).endswith(":*") else {}
    return [row.get("scope"), *(row.get(name) for name in (*NUMBERS, "group")), *(counted.get(name) for name in COUNTS)]
