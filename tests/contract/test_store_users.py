"""The store of users: secrets, their ends, and what holds when several replicas act at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select, update

from app.domain.errors import Conflict, InvalidInput, NotFound, PodwireError, TooManyAttempts
from app.domain.person import Person, Role
from app.store.accounts.users import MAX_FAILURES, UserStore
from app.store.engine import begin, db_now, reading
from app.store.schema.account_tables import login_links, sessions, sign_in_attempts, tokens


@pytest.fixture
def users(engine: Engine) -> UserStore:
    return UserStore(engine)


@pytest.fixture
def ann(users: UserStore) -> Person:
    return users.create_user("ann", Role.ADMIN)


def test_a_user_is_found_by_id_and_name_and_each_name_is_given_once(users: UserStore, ann: Person) -> None:
    bob = users.create_user("bob")
    assert [user.person for user in users.list()] == [ann, bob]
    by_id, by_name = users.get(bob.id), users.by_name("bob")
    assert by_id == by_name and by_id is not None and by_id.person.role is Role.USER
    with pytest.raises(Conflict):
        users.create_user("bob", Role.ADMIN)
    for name in ("", " bob", "b\nb", "x" * 101):
        with pytest.raises(InvalidInput):
            users.create_user(name)


def test_a_token_proves_its_user_until_it_is_revoked(users: UserStore, ann: Person, engine: Engine) -> None:
    plain, info = users.create_token(ann.id, "laptop")
    assert plain.startswith("pw_") and plain.startswith(info.prefix) and len(info.prefix) < 12
    assert users.person_of_token(plain) == ann
    assert [token.id for token in users.list_tokens(ann.id)] == [info.id]
    for wrong in ("", "pw_", plain[:-1], plain + "x", plain.upper(), "pw_\udcff"):
        assert users.person_of_token(wrong) is None
    users.revoke(info.id)
    users.revoke(info.id)
    assert users.person_of_token(plain) is None and not users.list_tokens(ann.id)


def test_no_secret_is_stored(users: UserStore, ann: Person, engine: Engine) -> None:
    secrets = [users.create_token(ann.id, "t")[0], users.open_session(ann.id, 60)[0], users.create_login_link(ann.id, 60)]
    with reading(engine) as connection:
        stored = [str(row) for table in (tokens, sessions, login_links) for row in connection.execute(select(table))]
    assert len(stored) == 3
    assert not [secret for secret in secrets if any(secret in row for row in stored)]


def test_everything_ends_with_its_time(users: UserStore, ann: Person, engine: Engine) -> None:
    token, _ = users.create_token(ann.id, "short", 60)
    session, _ = users.open_session(ann.id, 60)
    link = users.create_login_link(ann.id, 60)
    with begin(engine) as connection:
        for table in (tokens, sessions, login_links):
            connection.execute(update(table).values(expires_at=db_now() - 1))
    assert users.person_of_token(token) is None
    assert users.session(session) is None
    assert users.use_login_link(link) is None


def test_a_session_gives_its_person_and_csrf_token_until_it_is_closed(users: UserStore, ann: Person) -> None:
    plain, csrf = users.open_session(ann.id, 60)
    other, other_csrf = users.open_session(ann.id, 60)
    assert users.session(plain) == (ann, csrf) and csrf != other_csrf
    users.close_session(plain)
    assert users.session(plain) is None and users.session(other) == (ann, other_csrf)
    users.close_sessions(ann.id)
    assert users.session(other) is None


@pytest.mark.trap("R7")
def test_a_disabled_user_is_out_at_once_everywhere(users: UserStore, ann: Person, other_engine: Engine) -> None:
    bob = users.create_user("bob")
    token, _ = users.create_token(bob.id, "t")
    session, _ = users.open_session(bob.id, 60)
    link = users.create_login_link(bob.id, 60)
    replica = UserStore(other_engine)
    assert replica.person_of_token(token) == bob
    users.disable(bob.id)
    assert replica.person_of_token(token) is None and replica.session(session) is None
    assert replica.use_login_link(link) is None
    users.disable(bob.id, False)
    assert replica.person_of_token(token) == bob and replica.session(session) is None


def test_a_changed_role_counts_at_once(users: UserStore, ann: Person) -> None:
    bob = users.create_user("bob")
    token, _ = users.create_token(bob.id, "t")
    users.set_role(bob.id, Role.ADMIN)
    found = users.person_of_token(token)
    assert found is not None and found.is_admin
    with pytest.raises(NotFound):
        users.set_role("u-nobody", Role.USER)


def test_a_login_link_is_used_once_however_many_try(users: UserStore, ann: Person) -> None:
    link = users.create_login_link(ann.id, 60)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(users.use_login_link, [link] * 8))
    assert [person for person in found if person] == [ann]


def test_one_admin_always_stays(users: UserStore, ann: Person) -> None:
    with pytest.raises(Conflict):
        users.disable(ann.id)
    with pytest.raises(Conflict):
        users.set_role(ann.id, Role.USER)
    bob = users.create_user("bob", Role.ADMIN)

    def step_down(user_id: str) -> bool:
        try:
            users.set_role(user_id, Role.USER)
        except PodwireError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(step_down, [ann.id, bob.id])) == [False, True]


def test_failed_attempts_are_counted_per_scope_over_replicas(users: UserStore, engine: Engine, other_engine: Engine) -> None:
    replica = UserStore(other_engine)
    for number in range(MAX_FAILURES):
        (users, replica)[number % 2].note_attempt("address:10.0.0.1")
    for store in (users, replica):
        with pytest.raises(TooManyAttempts) as refused:
            store.check_attempts("address:10.0.0.1")
        wait = refused.value.extensions["retry_after_s"]
        assert isinstance(wait, int) and 0 < wait <= 300
    users.check_attempts("address:10.0.0.2")
    with begin(engine) as connection:
        connection.execute(update(sign_in_attempts).values(at=db_now() - 301))
    replica.check_attempts("address:10.0.0.1")


def test_whether_an_admin_holds_a_key(users: UserStore, ann: Person) -> None:
    bob = users.create_user("bob")
    users.create_token(bob.id, "t")
    users.create_login_link(ann.id, 60)
    assert not users.admin_holds_key()
    _, info = users.create_token(ann.id, "t")
    assert users.admin_holds_key()
    users.revoke(info.id)
    assert not users.admin_holds_key()
    users.open_session(ann.id, 60)
    assert users.admin_holds_key()
