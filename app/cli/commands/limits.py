"""`podwire limits`: what admins limit, and for whom. Each is one request and what it prints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from app.cli.client.http import Api, with_query
from app.cli.client.target import find_target
from app.cli.commands.queries import print_table, rows
from app.cli.errors import Stop

PATH = "/v1/admin/limits"
NUMBERS = ("pending", "active", "queue_length", "weight")
COUNTS = ("queued", "active", "waiting")


def limits(options: argparse.Namespace) -> int:
    """Print what is set; or set everything of one scope, or give it its defaults back."""
    page = _ask(Api(find_target()), options)
    found = [row for row in rows(page) if options.action == "show" or row.get("scope") == options.scope]
    if options.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    if not found:
        print("nothing is set" + (f" of {options.scope}" if options.scope else ""))
        return 0
    head = ("SCOPE", *(name.upper().replace("_", " ") for name in NUMBERS), "GROUP", "QUEUED", "ACTIVE", "WAITING")
    print_table(head, [_cells(row) for row in found])
    return 0


def _ask(api: Api, options: argparse.Namespace) -> Mapping[str, object]:
    given = {name: getattr(options, name) for name in (*NUMBERS, "group") if getattr(options, name) is not None}
    if options.action == "show":
        if options.scope or given:
            raise Stop("podwire limits show prints everything that is set; to set something: podwire limits set SCOPE ...")
        return api.get(PATH)
    if not options.scope:
        raise Stop("Say whose: all, owner:*, owner:NAME, group:*, group:NAME or label:NAME=VALUE.")
    if options.action == "set":
        if not given:
            raise Stop("Say what to set, such as --active 2; to give the scope its defaults back: podwire limits clear SCOPE")
        return api.send("PUT", PATH, {"scope": options.scope, **given})
    if given:
        raise Stop("podwire limits clear gives the scope all its defaults back and takes no numbers.")
    return api.delete(with_query(PATH, {"scope": options.scope}))


def _cells(row: Mapping[str, object]) -> list[object]:
    counts = row.get("counts")
    counted = counts if isinstance(counts, dict) and not str(row.get("scope")).endswith(":*") else {}
    return [row.get("scope"), *(row.get(name) for name in (*NUMBERS, "group")), *(counted.get(name) for name in COUNTS)]
