"""Users and how they prove who they are: API tokens, browser sessions, one-time login links, failed attempts.

Of every secret only its SHA-256 is kept: each has 256 random bits, so a slow hash would protect nothing more. Nothing is
cached: what one replica revokes, every replica refuses at its next look. Who may manage whom is decided in the use cases.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.domain.errors import Conflict, FieldError, InvalidInput, NotFound, StoreUnavailable, TooManyAttempts
from app.domain.ids import new_user_id
from app.domain.person import Person, Role
from app.store.engine import begin, db_now, reading
from app.store.schema.account_tables import login_links, sessions, sign_in_attempts, tokens, users

TOKEN_PREFIX = "pw_"
LAST_USED_STEP_S = 300
MAX_FAILURES = 10
FAILURE_WINDOW_S = 300
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class User:
    """A user as admins see them. Times are the database's; `disabled_at` None = may sign in."""

    person: Person
    created_at: float
    disabled_at: float | None = None


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """An API token without its secret. `prefix` is how it begins; `last_used_at` is right to five minutes."""

    id: str
    user_id: str
    name: str
    prefix: str
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None


_PERSON = (users.c.id, users.c.name, users.c.role)
_TOKEN = (
    tokens.c.id,
    tokens.c.user_id,
    tokens.c.name,
    tokens.c.prefix,
    tokens.c.created_at,
    tokens.c.expires_at,
    tokens.c.last_used_at,
    tokens.c.revoked_at,
)

# Whose token it is while it counts, and whether its use was noted long ago. Built once: every request asks this.
_STALE = func.coalesce(tokens.c.last_used_at, 0) < db_now() - LAST_USED_STEP_S
PERSON_OF_TOKEN = (
    select(*_PERSON, tokens.c.hash, _STALE)
    .join(users, users.c.id == tokens.c.user_id)
    .where(tokens.c.hash == bindparam("hash"), tokens.c.revoked_at.is_(None), users.c.disabled_at.is_(None))
    .where(or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > db_now()))
)

# Whose browser session it is while it lasts, and its CSRF token.
PERSON_OF_SESSION = (
    select(*_PERSON, sessions.c.hash, sessions.c.csrf)
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.hash == bindparam("hash"), sessions.c.expires_at > db_now(), users.c.disabled_at.is_(None))
)


class UserStore:
    """The users of one database. Every method raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine; nothing connects yet."""
        self._engine = engine

    def create_user(self, name: str, role: Role = Role.USER) -> Person:
        """Add a user. Raises: InvalidInput for a name that will not do, Conflict when it is taken."""
        if not name.strip() or name != name.strip() or len(name) > MAX_NAME or not name.isprintable():
            wrong = f"must be 1 to {MAX_NAME} printable characters without blanks around them"
            raise InvalidInput([FieldError("name", wrong)])
        person = Person(new_user_id(), name, role)
        values = {"id": person.id, "name": name, "role": role.value, "created_at": db_now()}
        try:
            with begin(self._engine) as connection:
                connection.execute(insert(users).values(values))
        except IntegrityError as error:
            raise Conflict(f"There is already a user named {name}.") from error
        return person

    def get(self, user_id: str) -> User | None:
        """Return the user, disabled or not."""
        return self._user(users.c.id == user_id)

    def by_name(self, name: str) -> User | None:
        """Return the user of that name, disabled or not."""
        return self._user(users.c.name == name)

    def list(self) -> Sequence[User]:
        """Return all users by name."""
        with reading(self._engine) as connection:
            return [_user(row) for row in connection.execute(select(users).order_by(users.c.name))]

    def set_role(self, user_id: str, role: Role) -> None:
        """Give the user another role. Raises: NotFound, Conflict when no admin would be left."""
        with begin(self._engine) as connection:
            _lock_user(connection, user_id)
            connection.execute(update(users).where(users.c.id == user_id).values(role=role.value))
            _require_admin(connection)

    def disable(self, user_id: str, disabled: bool = True) -> None:
        """Shut the user out, at once and everywhere, or let them in again.

        Raises: NotFound, Conflict when no admin would be left.
        """
        with begin(self._engine) as connection:
            _lock_user(connection, user_id)
            at = func.coalesce(users.c.disabled_at, db_now()) if disabled else None
            connection.execute(update(users).where(users.c.id == user_id).values(disabled_at=at))
            if disabled:
                connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
            _require_admin(connection)

    def create_token(self, user_id: str, name: str, ttl_s: float | None = None) -> tuple[str, TokenInfo]:
        """Make an API token. The first of the pair is the token itself, which nobody can show again."""
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise InvalidInput([FieldError("name", f"must be 1 to {MAX_NAME} printable characters")])
        plain = TOKEN_PREFIX + secrets.token_urlsafe(32)
        values = {
            "id": "t" + secrets.token_hex(10),
            "user_id": user_id,
            "name": name,
            "prefix": plain[:9],
            "hash": _hash(plain),
            "created_at": db_now(),
            "expires_at": None if ttl_s is None else db_now() + ttl_s,
        }
        with begin(self._engine) as connection:
            row = connection.execute(insert(tokens).values(values).returning(*_TOKEN)).one()
        return plain, TokenInfo(*row)

    def person_of_token(self, plain: str) -> Person | None:
        """Return whose token it is, by one indexed look-up; None for one that does not count (any more)."""
        if not plain.startswith(TOKEN_PREFIX):
            return None
        hashed = _hash(plain)
        with reading(self._engine) as connection:
            row = connection.execute(PERSON_OF_TOKEN, {"hash": hashed}).one_or_none()
        if row is None or not hmac.compare_digest(row[3], hashed):
            return None
        if row[4]:
            self._note_use(hashed)
        return _person(row)

    def list_tokens(self, user_id: str) -> Sequence[TokenInfo]:
        """Return the user's tokens that are not revoked, newest first."""
        query = select(*_TOKEN).where(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
        newest_first = query.order_by(tokens.c.created_at.desc(), tokens.c.id)
        with reading(self._engine) as connection:
            return [TokenInfo(*row) for row in connection.execute(newest_first)]

    def token(self, token_id: str) -> TokenInfo | None:
        """Return what is known of a token."""
        with reading(self._engine) as connection:
            row = connection.execute(select(*_TOKEN).where(tokens.c.id == token_id)).one_or_none()
        return TokenInfo(*row) if row else None

    def revoke(self, token_id: str) -> None:
        """Make the token worthless at once and everywhere. Idempotent."""
        not_revoked = (tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
        change = update(tokens).where(*not_revoked).values(revoked_at=db_now())
        with begin(self._engine) as connection:
            connection.execute(change)

    def open_session(self, user_id: str, ttl_s: float) -> tuple[str, str]:
        """Begin a browser session: (its id, its CSRF token). Sessions that have expired are swept on the way."""
        plain, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        values = {
            "hash": _hash(plain),
            "user_id": user_id,
            "csrf": csrf,
            "created_at": db_now(),
            "expires_at": db_now() + ttl_s,
        }
        with begin(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at < db_now()))
            connection.execute(insert(sessions).values(values))
        return plain, csrf

    def session(self, plain: str) -> tuple[Person, str] | None:
        """Return the session's person and its CSRF token, by one indexed look-up; None when it is over."""
        hashed = _hash(plain)
        with reading(self._engine) as connection:
            row = connection.execute(PERSON_OF_SESSION, {"hash": hashed}).one_or_none()
        if row is None or not hmac.compare_digest(row[3], hashed):
            return None
        return _person(row), row[4]

    def close_session(self, plain: str) -> None:
        """End one browser session. Idempotent."""
        with begin(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.hash == _hash(plain)))

    def close_sessions(self, user_id: str) -> None:
        """End all browser sessions of the user."""
        with begin(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.user_id == user_id))

    def admin_holds_key(self) -> bool:
        """Say whether any admin could sign in now: with a token, or is signed in."""
        admins = select(users.c.id).where(users.c.role == Role.ADMIN.value, users.c.disabled_at.is_(None))
        valid = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > db_now())
        token = exists().where(tokens.c.user_id.in_(admins), tokens.c.revoked_at.is_(None), valid)
        session = exists().where(sessions.c.user_id.in_(admins), sessions.c.expires_at > db_now())
        with reading(self._engine) as connection:
            return bool(connection.execute(select(or_(token, session))).scalar_one())

    def create_login_link(self, user_id: str, ttl_s: float) -> str:
        """Return the secret part of a link that signs the user in once within the time."""
        plain = secrets.token_urlsafe(32)
        values = {"hash": _hash(plain), "user_id": user_id, "created_at": db_now(), "expires_at": db_now() + ttl_s}
        with begin(self._engine) as connection:
            connection.execute(delete(login_links).where(login_links.c.expires_at < db_now()))
            connection.execute(insert(login_links).values(values))
        return plain

    def use_login_link(self, plain: str) -> Person | None:
        """Use the link up and return whose it was; None for one that does not count. Of many tries at once, one succeeds."""
        hashed = _hash(plain)
        use = (
            update(login_links)
            .where(login_links.c.hash == hashed, login_links.c.used_at.is_(None), login_links.c.expires_at > db_now())
            .values(used_at=db_now())
            .returning(login_links.c.user_id)
        )
        with begin(self._engine) as connection:
            user_id = connection.execute(use).scalar_one_or_none()
            if user_id is None:
                return None
            owner = select(*_PERSON).where(users.c.id == user_id, users.c.disabled_at.is_(None))
            row = connection.execute(owner).one_or_none()
        return _person(row) if row else None

    def check_attempts(self, scope: str) -> None:
        """Refuse a scope (an address, a name) that failed too often of late, on whichever replica.

        Raises: TooManyAttempts with `retry_after_s`.
        """
        recent = (
            select(sign_in_attempts.c.at, db_now())
            .where(sign_in_attempts.c.scope == scope[:200], sign_in_attempts.c.at > db_now() - FAILURE_WINDOW_S)
            .order_by(sign_in_attempts.c.at.desc())
            .limit(MAX_FAILURES)
        )
        with reading(self._engine) as connection:
            failures = connection.execute(recent).all()
        if len(failures) >= MAX_FAILURES:
            oldest, now = failures[-1]
            raise TooManyAttempts(
                limit=MAX_FAILURES, current=len(failures), retry_after_s=max(1, round(oldest + FAILURE_WINDOW_S - now))
            )

    def note_attempt(self, scope: str) -> None:
        """Count one more failure of the scope. Raises: TooManyAttempts when it has failed too often already."""
        self.check_attempts(scope)
        with begin(self._engine) as connection:
            connection.execute(delete(sign_in_attempts).where(sign_in_attempts.c.at < db_now() - 2 * FAILURE_WINDOW_S))
            connection.execute(insert(sign_in_attempts).values(scope=scope[:200], at=db_now()))

    def _user(self, condition: object) -> User | None:
        with reading(self._engine) as connection:
            row = connection.execute(select(users).where(condition)).one_or_none()  # type: ignore[arg-type]
        return _user(row) if row else None

    def _note_use(self, hashed: str) -> None:
        # Shown to people only: not worth failing a request for.
        with suppress(StoreUnavailable), begin(self._engine) as connection:
            connection.execute(update(tokens).where(tokens.c.hash == hashed).values(last_used_at=db_now()))


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode(errors="replace")).hexdigest()


def _person(row: Row[*tuple[Any, ...]]) -> Person:
    return Person(row.id, row.name, Role(row.role))


def _user(row: Row[*tuple[Any, ...]]) -> User:
    return User(_person(row), row.created_at, row.disabled_at)


def _lock_user(connection: Connection, user_id: str) -> None:
    # Admins are locked too, in one order: two that step down at the same time must see each other.
    wanted = or_(users.c.id == user_id, users.c.role == Role.ADMIN.value)
    found = connection.execute(select(users.c.id).where(wanted).order_by(users.c.id).with_for_update()).scalars().all()
    if user_id not in found:
        raise NotFound("There is no such user.")


def _require_admin(connection: Connection) -> None:
    able = (users.c.role == Role.ADMIN.value, users.c.disabled_at.is_(None))
    if not connection.execute(select(func.count()).select_from(users).where(*able)).scalar_one():
        raise Conflict("This is the last admin; make another user an admin first.")
