"""The watch against an API server that ends, forgets and fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from app.launch.kubernetes.api import pod_watch
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.api.pod_watch import PodWatch

Json = dict[str, Any]


def pod(name: str, uid: str, phase: str = "Running") -> Json:
    return {"metadata": {"name": name, "uid": uid}, "status": {"phase": phase}}


class Server:
    """Answers lists and watches from a script of steps; the last step waits until the test is over."""

    def __init__(self, *steps: Json | list[Json] | ApiFailure) -> None:
        self._steps = list(steps)
        self.queries: list[Mapping[str, str]] = []
        self.done = threading.Event()

    def _next(self) -> Any:
        if not self._steps:
            self.done.set()
            threading.Event().wait()  # the watch ends with the process
        step = self._steps.pop(0)
        if isinstance(step, ApiFailure):
            raise step
        return step

    def call(self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None) -> Json:
        return dict(self._next())

    def lines(self, path: str, query: Mapping[str, str], silence_s: float) -> Iterator[Json]:
        self.queries.append(query)
        yield from self._next()


def listed(version: str, *pods: Json) -> Json:
    return {"metadata": {"resourceVersion": version}, "items": list(pods)}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[PodWatch, Server, list[str]]]:
    monkeypatch.setattr(pod_watch.random, "uniform", lambda low, high: 0.001)

    def make(*steps: Json | list[Json] | ApiFailure) -> tuple[PodWatch, Server, list[str]]:
        server, calls = Server(*steps), list[str]()
        made = PodWatch(server, "runs", "x=y")  # type: ignore[arg-type]
        made.follow("a", lambda: calls.append("a"))
        assert server.done.wait(10)
        return made, server, calls

    return make


def test_pods_are_known_as_they_were_seen_last(watched: Callable[..., tuple[PodWatch, Server, list[str]]]) -> None:
    changes = [
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}},
        {"type": "MODIFIED", "object": pod("a", "1", "Failed")},
        {"type": "ADDED", "object": pod("b", "2")},
        {"type": "DELETED", "object": pod("c", "3")},
    ]
    seen, server, calls = watched(listed("7", pod("a", "1"), pod("c", "3")), changes)
    known = seen.pod("a", "1")
    assert known is not None and known["status"]["phase"] == "Failed"
    assert seen.pod("a", "another") is None
    assert seen.pod("c", "3") is None
    assert calls == ["a", "a"]
    assert server.queries[0]["resourceVersion"] == "7"


def test_what_is_forgotten_or_fails_is_listed_again(watched: Callable[..., tuple[PodWatch, Server, list[str]]]) -> None:
    gone = [{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}]
    away = ApiFailure(0, "Unreachable", "refused")
    seen, server, calls = watched(listed("1", pod("a", "1")), gone, away, listed("2"), away, listed("3", pod("a", "4")), [])
    assert [query["resourceVersion"] for query in server.queries] == ["1", "2", "3"]
    assert seen.pod("a", "4") and not seen.pod("a", "1")
    assert (seen.lists, seen.failures) == (3, 2)
    assert calls == ["a", "a", "a"]


def test_who_no_longer_follows_is_not_called(watched: Callable[..., tuple[PodWatch, Server, list[str]]]) -> None:
    seen, _, calls = watched(listed("1"))
    calls.clear()
    call = lambda: calls.append("more")  # noqa: E731
    seen.follow("b", call)
    seen.unfollow("b", call)
    seen.unfollow("b", call)
    seen._apply("ADDED", pod("b", "1"))
    assert calls == []


def test_every_change_of_any_pod_is_shown_and_which_is_the_last() -> None:
    changes = [{"type": kind, "object": pod("b", "2")} for kind in ("ADDED", "BOOKMARK", "MODIFIED", "DELETED")]
    server, shown = Server(listed("1"), changes), list[tuple[str, bool]]()
    made = PodWatch(server, "runs", "x=y", lambda each, gone: shown.append((each["metadata"]["uid"], gone)))  # type: ignore[arg-type]
    made.follow("a", lambda: None)
    assert server.done.wait(10)
    assert shown == [("2", False), ("2", False), ("2", True)]
