"""The users of the service on whose machine this is: found by name, and the addresses at which they sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.cli.errors import Stop
from config.settings import Settings

if TYPE_CHECKING:
    from app.service.services import Services

_LINK_PATH = "/sign-in/link/"


def base_url(settings: Settings) -> str:
    """Return the address at which people reach a service with these settings."""
    return settings.public_url.rstrip("/") or f"http://{settings.bind}"


def sign_in_url(settings: Settings, link: str) -> str:
    """Return the address that signs a person in once; `link` is its secret."""
    return f"{base_url(settings)}{_LINK_PATH}{link}"


def user_id(services: Services, name: str) -> str:
    """Return the id of the user of this name. Raises: Stop."""
    user = services.store.users.by_name(name)
    if user is None:
        raise Stop(f"There is no user named {name}; podwire user list shows all.")
    return user.person.id
