"""Questions in the terminal: how they look and which value a typed line is."""

from __future__ import annotations

import pytest

from app.cli.terminal.prompt import Prompt


def prompt(kind: str, **more: object) -> Prompt:
    return Prompt.of({"id": "q", "text": "Which?", "kind": kind, **more})


@pytest.mark.parametrize(
    ("asked", "line", "value"),
    [
        (prompt("choice", choices=["red", "2"]), "1\n", "red"),
        (prompt("choice", choices=["red", "2"]), "2\n", "2"),
        (prompt("choice", choices=["2", "red"]), "2\n", "2"),
        (prompt("choice", choices=["red", "blue"], default="blue"), "\n", "blue"),
        (prompt("confirm"), "Yes\r\n", True),
        (prompt("confirm"), "n\n", False),
        (prompt("confirm", default=False), "\n", False),
        (prompt("number"), "12\n", 12),
        (prompt("number"), "-1.5\n", -1.5),
        (prompt("number", default=3), "\n", 3),
        (prompt("text"), "  spaces stay \n", "  spaces stay "),
        (prompt("text"), "\n", ""),
        (prompt("secret"), "hush\n", "hush"),
        (prompt("form"), '{"a": 1}\n', {"a": 1}),
        (prompt("a kind of the future"), "text\n", "text"),
    ],
)
def test_a_line_is_the_value_of_the_kind(asked: Prompt, line: str, value: object) -> None:
    answer = asked.value(line)
    assert answer == value
    assert type(answer) is type(value)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (prompt("choice", choices=["red"]), "2"),
        (prompt("choice", choices=["red"]), "0"),
        (prompt("choice", choices=["red"]), "²"),
        (prompt("confirm"), "maybe"),
        (prompt("confirm"), ""),
        (prompt("number"), "nan"),
        (prompt("number"), "1e999"),
        (prompt("number"), "²"),
        (prompt("form"), "{"),
    ],
)
def test_other_lines_are_refused_with_a_sentence(asked: Prompt, line: str) -> None:
    with pytest.raises(ValueError, match="Type "):
        asked.value(line)


def test_the_terminal_shows_text_choices_and_what_enter_means() -> None:
    assert prompt("choice", choices=["red", "blue"], default="red").lines() == (
        "? Which?\n  1) red\n  2) blue\n  (number or text, Enter = red) > "
    )
    assert prompt("text").lines() == "? Which?\n  > "
    assert "Enter = no" in prompt("confirm", default=False).lines()
    assert prompt("secret").hidden
