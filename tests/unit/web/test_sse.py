"""Server-sent events: a watcher who may not watch any more is noticed, while a database that is away ends nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.errors import StoreUnavailable
from app.domain.person import Person
from app.web import sse
from tests.unit.supervise.doubles import make_run


def away() -> Person | None:
    raise StoreUnavailable()


@pytest.mark.trap("S14")
@pytest.mark.parametrize(
    ("who", "passed"),
    [
        (lambda: Person("u1", "ann"), True),
        (lambda: None, False),
        (lambda: Person("u2", "bob"), False),
        (away, True),
    ],
)
def test_a_stream_is_rechecked(monkeypatch: pytest.MonkeyPatch, who: Callable[[], Person | None], passed: bool) -> None:
    monkeypatch.setattr(sse, "RECHECK_S", 0.0)
    monkeypatch.setattr(sse, "still_valid", lambda services, held: who())
    assert sse._Recheck(None, None, make_run()).passed() is passed  # type: ignore[arg-type]
