"""People and their keys: how they sign in, who may add, change and shut out whom. Used by pages, API and command line.

The command line acts on the database directly and as nobody in particular: it passes `SYSTEM`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from app.domain.person import Person, Role
from app.service.services import Services
from app.store.accounts.users import TokenInfo, User

SYSTEM = Person("system", "system", Role.ADMIN)
FIRST_ADMIN = "admin"
LINK_S = 24 * 3600.0


def first_login_link(services: Services, ttl_s: float = LINK_S) -> str | None:
    """Return the secret part of a link for the first admin, who is made if need be; None once an admin holds a key.

    Processes that start at once make one admin between them. Raises: StoreUnavailable.
    """
    admins = [user for user in services.store.users.list() if user.person.is_admin and user.disabled_at is None]
    if not admins:
        try:
            return services.store.users.create_login_link(services.store.users.create_user(FIRST_ADMIN, Role.ADMIN).id, ttl_s)
        except Conflict:
            return None
    if services.store.users.admin_holds_key():
        return None
    return services.store.users.create_login_link(admins[0].person.id, ttl_s)


def sign_in_by_token(services: Services, plain: str, address: str) -> Person:
    """Return whose token it is. Raises: Unauthenticated, TooManyAttempts (counted per address over all replicas)."""
    return _sign_in(services, address, lambda: services.store.users.person_of_token(plain), "This token is not valid.")


def sign_in_by_link(services: Services, plain: str, address: str) -> Person:
    """Use a one-time login link up. Raises: Unauthenticated, TooManyAttempts."""
    sentence = "This link was used before or is too old; ask for a new one."
    return _sign_in(services, address, lambda: services.store.users.use_login_link(plain), sentence)


def list_users(services: Services, person: Person) -> Sequence[User]:
    """Return all users. Raises: Forbidden for those who are not admins."""
    _require_admin(person)
    return services.store.users.list()


def create_user(services: Services, person: Person, name: str, role: Role = Role.USER) -> Person:
    """Add a user. Raises: Forbidden, InvalidInput, Conflict when the name is taken."""
    _require_admin(person)
    return services.store.users.create_user(name, role)


def set_role(services: Services, person: Person, user_id: str, role: Role) -> None:
    """Give a user another role. Raises: Forbidden, NotFound, Conflict when no admin would be left."""
    _require_admin(person)
    services.store.users.set_role(user_id, role)


def set_disabled(services: Services, person: Person, user_id: str, disabled: bool) -> None:
    """Shut a user out at once, or let them in again. Raises: Forbidden, NotFound, Conflict when no admin would be left."""
    _require_admin(person)
    services.store.users.disable(user_id, disabled)


def login_link(services: Services, person: Person, user_id: str, ttl_s: float = LINK_S) -> str:
    """Return the secret part of a link that signs the user in once. Raises: Forbidden, NotFound."""
    _require_admin(person)
    return services.store.users.create_login_link(_user(services, user_id).person.id, ttl_s)


def list_tokens(services: Services, person: Person, user_id: str) -> Sequence[TokenInfo]:
    """Return a user's tokens, newest first. Raises: Forbidden for those of others."""
    _require_self_or_admin(person, user_id)
    return services.store.users.list_tokens(user_id)


def issue_token(services: Services, person: Person, user_id: str, name: str, ttl_s: float | None = None) -> tuple[str, TokenInfo]:
    """Make an API token; it can be shown now and never again. Raises: Forbidden, NotFound, InvalidInput."""
    _require_self_or_admin(person, user_id)
    return services.store.users.create_token(_user(services, user_id).person.id, name, ttl_s)


def revoke_token(services: Services, person: Person, token_id: str) -> TokenInfo:
    """Make a token worthless at once. Raises: NotFound, also for the tokens of others."""
    found = services.store.users.token(token_id)
    if found is None or not (person.is_admin or found.user_id == person.id):
        raise NotFound("There is no such token, or it is not yours.")
    services.store.users.revoke(token_id)
    return found


def sign_out_everywhere(services: Services, person: Person, user_id: str) -> None:
    """End all browser sessions of a user. Raises: Forbidden for those of others."""
    _require_self_or_admin(person, user_id)
    services.store.users.close_sessions(user_id)


def _sign_in(services: Services, address: str, prove: Callable[[], Person | None], sentence: str) -> Person:
    scope = f"address:{address}"
    services.store.users.check_attempts(scope)
    person = prove()
    if person is None:
        services.store.users.note_attempt(scope)
        raise Unauthenticated(sentence)
    return person


def _user(services: Services, user_id: str) -> User:
    user = services.store.users.get(user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def _require_admin(person: Person) -> None:
    if not person.is_admin:
        raise Forbidden("Only admins may manage users.")


def _require_self_or_admin(person: Person, user_id: str) -> None:
    if person.id != user_id:
        _require_admin(person)
