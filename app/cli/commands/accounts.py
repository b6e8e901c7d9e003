"""`podwire user`, `podwire token` and `podwire login`.

The first two act on the service's database, so they work before anyone can sign in.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime

from app.cli.client.http import Api, Target
from app.cli.client.target import credentials_path, save_target
from app.cli.errors import Stop
from app.cli.local_settings import local_settings
from app.domain.person import Role


def login(options: argparse.Namespace) -> int:
    """Check a token with the service and keep both for later commands."""
    url = (options.url or os.environ.get("PODWIRE_URL") or "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise Stop("Say where the service is: podwire login https://podwire.example.org")
    # Never from the arguments: every user of this machine can read those.
    prompted = sys.stdin.isatty()
    token = (getpass.getpass("Token: ") if prompted else sys.stdin.readline()).strip()
    if not token:
        raise Stop("There was no token.")
    me = Api(Target(url, token)).get("/v1/me")
    path = credentials_path(os.environ)
    save_target(path, Target(url, token))
    print(f"Signed in to {url} as {me.get('name')}; kept in {path}.")
    return 0


def user_create(options: argparse.Namespace) -> int:
    """Add a user, and print a link that signs them in once."""
    from app.service.accounts import SYSTEM, create_user, login_link
    from app.wiring import build_services

    settings = local_settings()
    services = build_services(settings)
    person = create_user(services, SYSTEM, options.name, Role(options.role))
    link = login_link(services, SYSTEM, person.id)
    print(f"{person.id}  {person.name}  {person.role}")
    print(f"{base_url(settings.public_url, settings.bind)}{LINK_PATH}{link}")
    return 0


def user_list(options: argparse.Namespace) -> int:
    """Print all users."""
    from app.service.accounts import SYSTEM, list_users
    from app.wiring import build_services

    for user in list_users(build_services(local_settings()), SYSTEM):
        person, state = user.person, "disabled" if user.disabled_at else "active"
        print(f"{person.id}  {person.role:6} {state:9} {person.name}")
    return 0


def user_link(options: argparse.Namespace) -> int:
    """Print a fresh link that signs a user in once."""
    from app.service.accounts import SYSTEM, login_link
    from app.wiring import build_services

    settings = local_settings()
    services = build_services(settings)
    link = login_link(services, SYSTEM, _user_id(services.store.users.by_name(options.name), options.name))
    print(f"{base_url(settings.public_url, settings.bind)}{LINK_PATH}{link}")
    return 0


def token_create(options: argparse.Namespace) -> int:
    """Make an API token for a user and print it, for this one time."""
    from app.service.accounts import SYSTEM, issue_token
    from app.wiring import build_services

    services = build_services(local_settings())
    user_id = _user_id(services.store.users.by_name(options.user), options.user)
    ttl_s = None if options.days is None else options.days * 86400.0
    plain, info = issue_token(services, SYSTEM, user_id, options.name, ttl_s)
    print(f"{info.id}: shown now and never again", file=sys.stderr)
    print(plain)
    return 0


def token_list(options: argparse.Namespace) -> int:
    """Print a user's tokens, without their secrets."""
    from app.service.accounts import SYSTEM, list_tokens
    from app.wiring import build_services

    services = build_services(local_settings())
    for info in list_tokens(services, SYSTEM, _user_id(services.store.users.by_name(options.user), options.user)):
        used = "never used" if info.last_used_at is None else f"used {_day(info.last_used_at)}"
        ends = "no end" if info.expires_at is None else f"until {_day(info.expires_at)}"
        print(f"{info.id}  {info.prefix}…  {ends:17} {used:16} {info.name}")
    return 0


def token_revoke(options: argparse.Namespace) -> int:
    """Make tokens worthless at once."""
    from app.service.accounts import SYSTEM, revoke_token
    from app.wiring import build_services

    services = build_services(local_settings())
    for token_id in options.tokens:
        print(f"{revoke_token(services, SYSTEM, token_id).id} revoked")
    return 0


LINK_PATH = "/sign-in/link/"


def base_url(public_url: str, bind: str) -> str:
    """Return the address at which people reach a service with these settings."""
    return public_url.rstrip("/") or f"http://{bind}"


def _user_id(user: object, name: str) -> str:
    from app.store.accounts.users import User

    if not isinstance(user, User):
        raise Stop(f"There is no user named {name}; podwire user list shows all.")
    return user.person.id


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
