"""Server-sent events: a watcher who may not watch any more is noticed, while a database that is away ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.person import Person
from app.web.streams import permission_check, sse
from tests.unit.supervise.doubles import make_run

ANN = Person("u1", "ann")


def away() -> Any:
    raise StoreUnavailable()


@pytest.mark.trap("S14")
@pytest.mark.parametrize(
    ("who", "there", "passed"),
    [
        (lambda: ANN, lambda: True, True),
        (lambda: ANN, lambda: False, False),
        (lambda: None, lambda: True, False),
        (lambda: Person("u2", "bob"), lambda: True, False),
        (away, lambda: True, True),
        (lambda: ANN, away, True),
    ],
)
def test_a_stream_is_rechecked(
    monkeypatch: pytest.MonkeyPatch, who: Callable[[], Person | None], there: Callable[[], bool], passed: bool
) -> None:
    monkeypatch.setattr(permission_check, "INTERVAL_S", -1.0)
    monkeypatch.setattr(permission_check, "still_valid", lambda services, held: who())
    services = cast(Any, SimpleNamespace(store=SimpleNamespace(retention=SimpleNamespace(exists=lambda run_id: there()))))
    assert sse._is_still_permitted(permission_check.PermissionCheck(services, cast(Any, None), make_run())) is passed
