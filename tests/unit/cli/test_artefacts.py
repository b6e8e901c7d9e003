"""`podwire artefacts`: all pages of the list, one file to stdout or to a file, and names that do a terminal no harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.cli.client.target import Target
from app.cli.commands import artefacts
from app.cli.errors import Refused
from app.cli.main import main

RUN = "r" + "a" * 19


def item(name: str) -> dict[str, Any]:
    return {"name": name, "size_bytes": 5, "modified_at": "2026-11-21T10:00:00.000Z", "url": "/x"}


class PlayApi:
    """Answers from two pages and one file."""

    def __init__(self, target: Target) -> None:
        self.asked: list[str] = []

    def get(self, path: str, **query: object) -> dict[str, object]:
        whole: dict[str, object] = {"state": "kept", "files": 3, "size_bytes": 15, "left_out": 1, "kept_until": "2026-11-28"}
        whole |= {"message": "Not kept: 1 (symbolic links).", "items": [item("a"), item("b\x1b[31m\u202e")], "next": "/next"}
        return whole if path.endswith("/artefacts") else {**whole, "items": [item("c")], "next": None}

    def raw(self, path: str) -> Iterator[bytes]:
        if not path.endswith("/artefacts/sub/a%20b%3F?attempt=2"):
            raise Refused(404, {"detail": "The run left no artefact of that name."}, "no")
        yield from (b"\x00\xff", b"more")


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "Api", PlayApi)
    monkeypatch.setattr(artefacts, "find_target", lambda: Target("http://localhost", "t"))


def test_all_pages_are_listed_and_nothing_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["artefacts", RUN]) == 0
    told = capsys.readouterr()
    assert [line.split("  ")[-1] for line in told.out.splitlines()] == ["a", '"b\\u001b[31m\\u202e"', "c"]
    assert "\x1b" not in told.out
    assert told.err == "podwire: 3 files, 15 bytes, kept until 2026-11-28\npodwire: Not kept: 1 (symbolic links).\n"


def test_a_file_is_written_as_it_is(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Any) -> None:
    words = ["artefacts", RUN, "sub/a b?", "--attempt", "2"]
    assert main(words) == 0
    assert capfdbinary.readouterr().out == b"\x00\xffmore"
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == b"\x00\xffmore"


def test_a_refusal_leaves_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    assert main(["artefacts", RUN, "missing", "-o", str(tmp_path / "out")]) == 1
    assert "no artefact of that name" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["artefacts", "../x"]) == 2
