"""`podwire login`: keep a service's address and a token for later commands."""

from __future__ import annotations

import getpass
import os
import sys

import click

from app.cli.client.http import Api
from app.cli.client.target import Target, credentials_path, save_target
from app.cli.errors import Stop
from app.cli.grammar import command
from app.cli.terminal.output import put


@command("login")
@click.argument("url", required=False, metavar="[URL]")
def login(url: str | None) -> int:
    """Keep a service's address and a token (asked for, or read from stdin)."""
    address = (url or os.environ.get("PODWIRE_URL") or "").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise Stop("Say where the service is: podwire login https://podwire.example.org")
    # Never from the arguments: every user of this machine can read those.
    prompted = sys.stdin.isatty()
    token = (getpass.getpass("Token: ") if prompted else sys.stdin.readline()).strip()
    if not token:
        raise Stop("There was no token.")
    me = Api(Target(address, token)).get("/v1/me")
    path = credentials_path(os.environ)
    save_target(path, Target(address, token))
    put(f"Signed in to {address} as {me.get('name')}; kept in {path}.")
    return 0
