"""How Flower is started: read-only, never open, and with no secret of Podwire but the address of Redis."""

from __future__ import annotations

import pytest

from app.cli.commands.flower import flower_words, guarded
from app.domain.errors import SettingsError
from config.celery import make_celery, make_observer
from config.settings import Settings, Watching

GIVEN = {"PODWIRE_DATABASE_URL": "sqlite://", "PODWIRE_REDIS_URL": "redis://h/1", "PODWIRE_SECRET_KEY": "x" * 32}


def test_a_password_is_made_up_where_none_is_set() -> None:
    environment, password = guarded({"PATH": "/bin"})
    assert len(password) > 16 and environment == {"PATH": "/bin", "FLOWER_BASIC_AUTH": f"podwire:{password}"}
    assert guarded({"FLOWER_BASIC_AUTH": " "})[1] not in ("", password)


@pytest.mark.parametrize("name", ["FLOWER_BASIC_AUTH", "FLOWER_AUTH"])
def test_who_may_look_can_be_set(name: str) -> None:
    assert guarded({name: "me:secret"}) == ({name: "me:secret"}, "")


def test_flower_is_not_told_what_it_need_not_know() -> None:
    environment, _ = guarded({**GIVEN, "FLOWER_UNAUTHENTICATED_API": "1", "FLOWER_URL_PREFIX": "f"})
    assert set(environment) == {"FLOWER_BASIC_AUTH", "FLOWER_URL_PREFIX"}
    assert set(Settings.from_env(GIVEN).watching().environment()) == {
        "PODWIRE_REDIS_URL", "PODWIRE_LOG_FORMAT", "PODWIRE_LOG_LEVEL",
    }  # fmt: skip


def test_its_settings_are_read_back_and_the_address_is_needed() -> None:
    settings = Watching("redis://h/1", "json", "DEBUG")
    assert Watching.from_env(settings.environment()) == settings
    with pytest.raises(SettingsError, match="PODWIRE_REDIS_URL"):
        Watching.from_env({"PODWIRE_LOG_FORMAT": "json"})


def test_nothing_can_be_changed_through_it() -> None:
    assert "--read_only=True" in flower_words("127.0.0.1", 1)


def test_it_has_the_options_of_the_workers() -> None:
    ours, its = make_celery(Settings.from_env(GIVEN)).conf, make_observer("redis://h/1").conf
    assert its.broker_transport_options == ours.broker_transport_options
    assert its.broker_transport_options["visibility_timeout"] == 86_400
    assert [queue.name for queue in its.task_queues] == [queue.name for queue in ours.task_queues]
