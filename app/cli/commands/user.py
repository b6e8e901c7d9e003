"""`podwire user`: the users of the service on whose machine this is. On its database, so it works before anyone can sign in."""

from __future__ import annotations

import click

from app.cli.grammar import Group, option
from app.cli.local_settings import local_settings
from app.cli.terminal.output import put
from app.domain.person import Role


@click.group("user", cls=Group, subcommand_metavar="ACTION ...")
def user() -> None:
    """Manage users, on the server."""


@user.command("create")
@click.argument("name")
@option("--role", type=click.Choice(["user", "admin"]), default="user")
def create(name: str, role: str) -> int:
    """Add a user and print a login link."""
    from app.cli.local_accounts import sign_in_url
    from app.service.accounts import SYSTEM, create_user, login_link
    from app.wiring import build_services

    settings = local_settings()
    services = build_services(settings)
    person = create_user(services, SYSTEM, name, Role(role))
    link = login_link(services, SYSTEM, person.id)
    put(f"{person.id}  {person.name}  {person.role}")
    print(sign_in_url(settings, link))
    return 0


@user.command("list")
def list_all() -> int:
    """List all users."""
    from app.service.accounts import SYSTEM, list_users
    from app.wiring import build_services

    for each in list_users(build_services(local_settings()), SYSTEM):
        person, state = each.person, "disabled" if each.disabled_at else "active"
        put(f"{person.id}  {person.role:6} {state:9} {person.name}")
    return 0


@user.command("link")
@click.argument("name")
def link(name: str) -> int:
    """Print a fresh login link."""
    from app.cli.local_accounts import sign_in_url, user_id
    from app.service.accounts import SYSTEM, login_link
    from app.wiring import build_services

    settings = local_settings()
    services = build_services(settings)
    print(sign_in_url(settings, login_link(services, SYSTEM, user_id(services, name))))
    return 0
