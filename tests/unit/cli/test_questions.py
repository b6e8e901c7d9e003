"""Which question is asked in the terminal, and which is told about."""

from __future__ import annotations

from app.cli.terminal.prompt import Prompt
from app.cli.terminal.questions import Questions


def prompt(name: str) -> Prompt:
    return Prompt.of({"id": name, "text": "?"})


def test_one_at_a_time_in_order() -> None:
    questions, first, second = Questions(), prompt("1"), prompt("2")
    questions.add(first)
    questions.add(second)
    assert questions.next() is first
    assert questions.next() is None, "the first is still asked"
    assert questions.settle("2") == (False, False)
    assert questions.asked is first
    questions.answered("1")
    assert questions.settle("1") == (True, True)
    assert questions.next() is None


def test_a_wrong_answer_is_asked_again() -> None:
    questions, first = Questions(), prompt("1")
    questions.add(first)
    questions.next()
    questions.ask_again()
    assert questions.next() is first


def test_another_attempt_forgets_them() -> None:
    questions = Questions()
    assert not questions.forget()
    questions.add(prompt("1"))
    questions.next()
    assert questions.forget()
    assert questions.asked is None and questions.next() is None
