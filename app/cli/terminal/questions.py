"""The questions of one run that are open, and which of them is asked: one at a time, as they came. No input or output."""

from __future__ import annotations

from app.cli.terminal.prompt import Prompt


class Questions:
    """Which questions are open. `asked` is the one whose prompt stands in the terminal."""

    def __init__(self) -> None:
        """None is open."""
        self.asked: Prompt | None = None
        self._open: list[Prompt] = []
        self._answered_here: set[str] = set()

    def add(self, prompt: Prompt) -> None:
        """Put a question behind those that are open."""
        self._open.append(prompt)

    def next(self) -> Prompt | None:
        """Return the question to ask now, which is `asked` from here on; None when one is asked already or none is open."""
        if self.asked is not None or not self._open:
            return None
        self.asked = self._open[0]
        return self.asked

    def answered(self, question_id: str) -> None:
        """Note that the answer was given here, so that nobody need be told of it."""
        self._answered_here.add(question_id)

    def ask_again(self) -> None:
        """Take the prompt back; the question stays the first."""
        self.asked = None

    def settle(self, question_id: str) -> tuple[bool, bool]:
        """Take a question back. Return (it was the one that is asked, its answer was given here)."""
        was_asked = self.asked is not None and self.asked.id == question_id
        self._open = [prompt for prompt in self._open if prompt.id != question_id]
        if was_asked:
            self.asked = None
        return was_asked, question_id in self._answered_here

    def forget(self) -> bool:
        """Take all of them back; True when one was asked."""
        was_asked = self.asked is not None
        self.asked, self._open = None, []
        return was_asked
