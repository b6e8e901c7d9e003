"""`podwire token`: API tokens of the service on whose machine this is. On its database, so it works before anyone can sign in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from app.cli.grammar import Group, option
from app.cli.local_settings import local_settings
from app.cli.terminal.output import put

whose = option("--user", default="admin", help="whose (default admin)")


@click.group("token", cls=Group, subcommand_metavar="ACTION ...")
def token() -> None:
    """Manage API tokens, on the server."""


@token.command("create")
@click.argument("name", help="what it is for")
@option("--days", type=float, help="how long it is valid (default: without end)")
@whose
def create(name: str, days: float | None, user: str) -> int:
    """Make an API token and print it once."""
    from app.cli.local_accounts import user_id
    from app.service.accounts import SYSTEM, issue_token
    from app.wiring import build_services

    services = build_services(local_settings())
    ttl_s = None if days is None else days * 86400.0
    plain, info = issue_token(services, SYSTEM, user_id(services, user), name, ttl_s)
    print(f"{info.id}: shown now and never again", file=sys.stderr)
    print(plain)
    return 0


@token.command("list")
@whose
def list_all(user: str) -> int:
    """List a user's tokens."""
    from app.cli.local_accounts import user_id
    from app.service.accounts import SYSTEM, list_tokens
    from app.wiring import build_services

    services = build_services(local_settings())
    for info in list_tokens(services, SYSTEM, user_id(services, user)):
        used = "never used" if info.last_used_at is None else f"used {_day(info.last_used_at)}"
        ends = "no end" if info.expires_at is None else f"until {_day(info.expires_at)}"
        put(f"{info.id}  {info.prefix}…  {ends:17} {used:16} {info.name}")
    return 0


@token.command("revoke")
@click.argument("tokens", nargs=-1, required=True, metavar="ID...")
def revoke(tokens: Sequence[str]) -> int:
    """Make tokens worthless."""
    from app.service.accounts import SYSTEM, revoke_token
    from app.wiring import build_services

    services = build_services(local_settings())
    for token_id in tokens:
        print(f"{revoke_token(services, SYSTEM, token_id).id} revoked")
    return 0


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
