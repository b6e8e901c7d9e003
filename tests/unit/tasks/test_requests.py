"""What a worker says of a message that it works on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import create_request_cls

from tasks.requests import Shown


def message(**headers: Any) -> Any:
    """Return a message as Celery's worker has it."""
    known = {"id": "1", "task": "supervise", "lang": "py", "timelimit": [None, None], "retries": 0, **headers}
    return SimpleNamespace(
        headers=known, body=(["r1"], {}, {}), content_type="application/json", content_encoding="utf-8",
        properties={}, delivery_info={}, delivery_tag="1", errors=None, ack_log_error=None, reject_log_error=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"argsrepr": "('r1',)", "kwargsrepr": "{'owner': 'ann'}"}, ("('r1',)", "{'owner': 'ann'}")),
        # A message of a version, or of somebody else, that says nothing to be shown.
        ({}, ("", "")),
    ],
)
def test_it_shows_what_was_published_to_be_shown(headers: dict[str, str], told: tuple[str, str]) -> None:
    app = Celery("test", broker="memory://", set_as_current=False)

    @app.task(name="supervise", Request=Shown)
    def supervise(*_: object) -> None:
        raise AssertionError("nothing runs here")

    pool = SimpleNamespace(apply_async=None)
    made = create_request_cls(Shown, supervise, pool, "worker", None)
    request = made(message(**headers), app=app, task=supervise, decoded=True)
    for safe in (False, True, None):
        info = request.info(safe=safe)
        assert (info["name"], info["args"], info["kwargs"]) == ("supervise", *told)
