"""`podwire limits`: what it asks the service, and what it prints."""

from __future__ import annotations

from typing import ClassVar

import pytest

from app.cli.commands import limits
from app.cli.main import main

ANN = {"scope": "owner:ann", "pending": None, "active": 2, "queue_length": None, "weight": 3, "group": "red"}
PAGE = {
    "items": [
        {**ANN, "counts": {"queued": 5, "active": 2, "waiting": 1}},
        {"scope": "owner:*", "pending": 9, "counts": {"queued": 0, "active": 0, "waiting": 0}},
    ]
}


class Asked:
    """Notes what the service is asked, and answers with the page."""

    calls: ClassVar[list[tuple[object, ...]]] = []

    def __init__(self, target: object) -> None:
        """Everybody is let in."""

    def get(self, *words: object) -> dict[str, object]:
        return self._note("GET", *words)

    def send(self, *words: object) -> dict[str, object]:
        return self._note(*words)

    def delete(self, *words: object) -> dict[str, object]:
        return self._note("DELETE", *words)

    def _note(self, *words: object) -> dict[str, object]:
        self.calls.append(words)
        return dict(PAGE)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    monkeypatch.setattr(limits, "Api", Asked)
    monkeypatch.setattr(limits, "find_target", lambda: None)
    Asked.calls.clear()
    return Asked.calls


def test_what_is_set_is_a_table(asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["limits"]) == 0
    assert asked == [("GET", "/v1/admin/limits")]
    head, ann, everyone = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "SCOPE"
    assert ann.split() == ["owner:ann", "2", "3", "red", "5", "2", "1"]
    assert everyone.split() == ["owner:*", "9"], "what is of each owner counts nothing"


def test_set_and_clear_are_of_one_scope(asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["limits", "set", "owner:ann", "--active", "2", "--weight", "3", "--group", "red"]) == 0
    assert asked.pop() == ("PUT", "/v1/admin/limits", {"scope": "owner:ann", "active": 2, "weight": 3, "group": "red"})
    assert "owner:ann" in (said := capsys.readouterr().out) and "owner:*" not in said
    assert main(["limits", "clear", "label:kind=a b&c", "--json"]) == 0
    assert asked.pop() == ("DELETE", "/v1/admin/limits?scope=label%3Akind%3Da+b%26c")
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    "words", [["set"], ["set", "all"], ["clear"], ["clear", "all", "--active", "1"], ["show", "all"], ["show", "--active", "1"]]
)
def test_half_a_command_changes_nothing(asked: list[tuple[object, ...]], words: list[str]) -> None:
    assert main(["limits", *words]) == 2
    assert asked == []
