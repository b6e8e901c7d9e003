"""The terminal beside a run's stream: its questions are asked, typed lines become answers or input, Ctrl-C asks to cancel.

What is typed comes from keyboard.py, which question is asked is decided by questions.py, how it looks by prompt.py.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from app.cli.client.http import Api, run_path
from app.cli.errors import Refused, Unreachable
from app.cli.terminal.interrupts import Interrupts
from app.cli.terminal.keyboard import Keyboard, show_typing
from app.cli.terminal.output import say
from app.cli.terminal.prompt import Prompt
from app.cli.terminal.questions import Questions


class Console:
    """The terminal's part in following one run. `asks` = questions may be answered here; `feeds` = stdin goes to the program."""

    def __init__(self, api: Api, run_id: str, *, asks: bool, feeds: bool = False, cancels: bool = True) -> None:
        """Read nothing yet."""
        self._api, self._run_id = api, run_id
        self._asks, self._feeds = asks, feeds
        self._questions = Questions()
        self._keyboard = Keyboard(is_open=asks or feeds)
        self._interrupts = Interrupts(held=cancels)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C ask for the run's end and the second leave (KeyboardInterrupt)."""
        with self._interrupts.caught():
            try:
                yield
            finally:
                self._show_typing(True)

    def fds(self) -> Sequence[int]:
        """Return the descriptors to wait for."""
        listens = self._keyboard.is_open and (self._feeds or self._questions.asked is not None)
        return [self._interrupts.fd, self._keyboard.fd] if listens else [self._interrupts.fd]

    def ready(self, fd: int) -> None:
        """Handle a descriptor that became readable."""
        if fd == self._interrupts.fd:
            self._interrupts.take()
            self._ask_to_cancel()
        else:
            self._read_stdin()

    def say(self, message: str) -> None:
        """Show a sentence on stderr."""
        say(message)

    def question(self, question: Mapping[str, object]) -> None:
        """Ask the question, after those that are already open."""
        prompt = Prompt.of(question)
        if not self._asks or not self._keyboard.is_open:
            self.say(f"question: {prompt.text} (answer on the page, or: podwire answer {prompt.id} VALUE)")
            return
        self._questions.add(prompt)
        self._ask_next()

    def settled(self, question_id: str, sentence: str) -> None:
        """Take a question back that was answered, here or elsewhere, or is over."""
        was_asked, answered_here = self._questions.settle(question_id)
        if was_asked:
            self._show_typing(True)
        if not answered_here:
            # The cursor stands behind the prompt that nobody needs any more.
            if was_asked:
                print(file=sys.stderr)
            self.say(sentence)
        self._ask_next()

    def begin_again(self, sentence: str) -> None:
        """Say that another attempt follows: nobody waits for answers to the questions of the former one."""
        if self._questions.forget():
            self._show_typing(True)
            print(file=sys.stderr)
        self.say(sentence)

    def _ask_next(self) -> None:
        if prompt := self._questions.next():
            self._show_typing(not prompt.hidden)
            print(prompt.lines(), end="", file=sys.stderr, flush=True)

    def _read_stdin(self) -> None:
        text, asked = self._keyboard.read(), self._questions.asked
        if text is None:
            self._end_of_stdin()
        elif asked is not None:
            self._answer(asked, text)
        else:
            self._feed(text, eof=False)

    def _end_of_stdin(self) -> None:
        if self._feeds:
            self._feed(self._keyboard.rest(), eof=True)
        if asked := self._questions.asked:
            self.say(f"not answered here; the page can, or: podwire answer {asked.id} VALUE")

    def _answer(self, prompt: Prompt, line: str) -> None:
        try:
            self._api.answer(prompt.id, prompt.value(line))
            self._questions.answered(prompt.id)
            if prompt.hidden:
                print(file=sys.stderr)
        except (ValueError, Refused) as error:
            if isinstance(error, Refused) and error.http_status != 422:
                # Somebody else was first, or it is too late: the log tells which.
                self.say(error.detail)
                return
            self.say(error.detail if isinstance(error, Refused) else str(error))
            self._questions.ask_again()
            self._ask_next()
        except Unreachable as error:
            self.say(f"{error.detail} The answer was not sent; type it again.")

    def _feed(self, text: str, eof: bool) -> None:
        try:
            body = {"data": text, "eof": eof, "id": uuid.uuid4().hex}
            self._api.send("POST", f"{run_path(self._run_id)}/input", body)
        except (Refused, Unreachable) as error:
            self._keyboard.is_open = self._feeds = False
            self.say(f"the input was not taken: {error.detail}")

    def _ask_to_cancel(self) -> None:
        self.say("cancelling the run; Ctrl-C once more leaves without waiting")
        try:
            self._api.cancel(self._run_id)
        except (Refused, Unreachable) as error:
            self.say(error.detail)

    def _show_typing(self, shown: bool) -> None:
        if self._asks:
            show_typing(shown)
