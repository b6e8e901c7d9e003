"""Questions of running code as lines of a terminal: how they look, and which value a typed line is. No input or output."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.cli.terminal.harmless import harmless
from app.domain.bounded_json import read_json
from app.domain.errors import InvalidInput, NotJson
from app.domain.runs.question import QuestionKind

_YES = frozenset({"y", "yes", "true", "1"})
_NO = frozenset({"n", "no", "false", "0"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to be answered in the terminal."""

    id: str
    text: str
    kind: QuestionKind
    choices: tuple[str, ...] = ()
    default: object = None

    @classmethod
    def of(cls, question: Mapping[str, object]) -> Prompt:
        """Return the prompt for a question as events and the API show it; an unknown kind is asked as text."""
        try:
            kind = QuestionKind(str(question.get("kind") or "text"))
        except ValueError:
            kind = QuestionKind.TEXT
        choices = question.get("choices")
        listed = tuple(str(choice) for choice in choices) if isinstance(choices, list) else ()
        return cls(str(question.get("id")), str(question.get("text", "")), kind, listed, question.get("default"))

    @property
    def hidden(self) -> bool:
        """True when what is typed must not show."""
        return self.kind is QuestionKind.SECRET

    def lines(self) -> str:
        """Return what the terminal shows, without what would steer it; the cursor stays behind it."""
        numbered = "".join(f"  {number}) {choice}\n" for number, choice in enumerate(self.choices, start=1))
        return harmless(f"? {self.text}\n{numbered}  {self._hint()}> ")

    def _hint(self) -> str:
        default = "" if self.default is None else f"Enter = {_shown(self.default)}"
        kinds = {
            QuestionKind.CHOICE: "number or text",
            QuestionKind.CONFIRM: "y/n",
            QuestionKind.NUMBER: "a number",
            QuestionKind.SECRET: "not shown",
            QuestionKind.FORM: "JSON",
        }
        parts = [part for part in (kinds.get(self.kind, ""), default) if part]
        return f"({', '.join(parts)}) " if parts else ""

    def value(self, line: str) -> object:
        """Return the answer that the line means. Raises: ValueError with the sentence to show when it means none."""
        text = line.rstrip("\r\n")
        if not text and self.default is not None:
            return self.default
        if self.kind is QuestionKind.CHOICE:
            return self._choice(text)
        if self.kind is QuestionKind.CONFIRM:
            return _confirm(text)
        if self.kind is QuestionKind.NUMBER:
            return _number(text)
        return _form(text) if self.kind is QuestionKind.FORM else text

    def _choice(self, text: str) -> str:
        if text in self.choices:
            return text
        if text.strip().isascii() and text.strip().isdigit() and 1 <= int(text) <= len(self.choices):
            return self.choices[int(text) - 1]
        raise ValueError(f"Type a number from 1 to {len(self.choices)}, or one of the texts.")


def _confirm(text: str) -> bool:
    word = text.strip().lower()
    if word not in _YES | _NO:
        raise ValueError("Type y or n.")
    return word in _YES


def _number(text: str) -> int | float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("Type a number.") from None
    if not math.isfinite(number):
        raise ValueError("Type a number.")
    return int(text) if text.strip().lstrip("+-").isdigit() else number


def _form(text: str) -> object:
    try:
        return read_json(text)
    except (NotJson, InvalidInput):
        raise ValueError('Type the answer as JSON, such as {"name": "value"}.') from None


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)
