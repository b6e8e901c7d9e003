"""The terminal beside a run's stream: its questions are asked, typed lines become answers or input, Ctrl-C asks to cancel.

What is read and written here are the terminal's descriptors; what a question looks like is in app.cli.terminal.prompt.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
import termios
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from app.cli.client.http import Api, run_path
from app.cli.errors import Refused, Unreachable
from app.cli.terminal.prompt import Prompt

INPUT_PIECE = 16 * 1024


class Console:
    """The terminal's part in following one run. `asks` = questions may be answered here; `feeds` = stdin goes to the program."""

    def __init__(self, api: Api, run_id: str, *, asks: bool, feeds: bool = False, cancels: bool = True) -> None:
        """Read nothing yet."""
        self._api, self._run_id = api, run_id
        self._asks, self._feeds, self._cancels = asks, feeds, cancels
        self._open: list[Prompt] = []
        self._asked: Prompt | None = None
        self._answered_here: set[str] = set()
        self._stdin_open = asks or feeds
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._wake_read, self._wake_write = os.pipe()
        self._interrupts = 0

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C ask for the run's end and the second leave (KeyboardInterrupt)."""
        former = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, former)
            self._show_typing(True)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def fds(self) -> Sequence[int]:
        """Return the descriptors to wait for."""
        listens = self._stdin_open and (self._feeds or self._asked is not None)
        return [self._wake_read, sys.stdin.fileno()] if listens else [self._wake_read]

    def ready(self, fd: int) -> None:
        """Handle a descriptor that became readable."""
        if fd == self._wake_read:
            os.read(fd, 64)
            self._ask_to_cancel()
        else:
            self._read_stdin(fd)

    def say(self, message: str) -> None:
        """Show a sentence on stderr."""
        print(f"podwire: {message}", file=sys.stderr, flush=True)

    def question(self, question: Mapping[str, object]) -> None:
        """Ask the question, after those that are already open."""
        prompt = Prompt.of(question)
        if not self._asks or not self._stdin_open:
            self.say(f"question: {prompt.text} (answer on the page, or: podwire answer {prompt.id} VALUE)")
            return
        self._open.append(prompt)
        self._ask_next()

    def settled(self, question_id: str, sentence: str) -> None:
        """Take a question back that was answered, here or elsewhere, or is over."""
        was_asked = self._asked is not None and self._asked.id == question_id
        self._open = [prompt for prompt in self._open if prompt.id != question_id]
        if was_asked:
            self._asked = None
            self._show_typing(True)
        if question_id not in self._answered_here:
            # The cursor stands behind the prompt that nobody needs any more.
            if was_asked:
                print(file=sys.stderr)
            self.say(sentence)
        self._ask_next()

    def begin_again(self, sentence: str) -> None:
        """Say that another attempt follows: nobody waits for answers to the questions of the former one."""
        if self._asked is not None:
            self._asked = None
            self._show_typing(True)
            print(file=sys.stderr)
        self._open = []
        self.say(sentence)

    def _ask_next(self) -> None:
        if self._asked is None and self._open:
            self._asked = self._open[0]
            self._show_typing(not self._asked.hidden)
            print(self._asked.lines(), end="", file=sys.stderr, flush=True)

    def _read_stdin(self, fd: int) -> None:
        data = os.read(fd, INPUT_PIECE)
        if not data:
            self._end_of_stdin()
        elif self._asked is not None:
            self._answer(self._asked, self._decoder.decode(data))
        else:
            self._feed(self._decoder.decode(data), eof=False)

    def _end_of_stdin(self) -> None:
        self._stdin_open = False
        if self._feeds:
            self._feed(self._decoder.decode(b"", final=True), eof=True)
        if self._asked is not None:
            self.say(f"not answered here; the page can, or: podwire answer {self._asked.id} VALUE")

    def _answer(self, prompt: Prompt, line: str) -> None:
        try:
            self._api.answer(prompt.id, prompt.value(line))
            self._answered_here.add(prompt.id)
            if prompt.hidden:
                print(file=sys.stderr)
        except (ValueError, Refused) as error:
            if isinstance(error, Refused) and error.http_status != 422:
                # Somebody else was first, or it is too late: the log tells which.
                self.say(error.detail)
                return
            self.say(error.detail if isinstance(error, Refused) else str(error))
            self._asked = None
            self._ask_next()
        except Unreachable as error:
            self.say(f"{error.detail} The answer was not sent; type it again.")

    def _feed(self, text: str, eof: bool) -> None:
        try:
            body = {"data": text, "eof": eof, "id": uuid.uuid4().hex}
            self._api.send("POST", f"{run_path(self._run_id)}/input", body)
        except (Refused, Unreachable) as error:
            self._stdin_open = self._feeds = False
            self.say(f"the input was not taken: {error.detail}")

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1 or not self._cancels:
            raise KeyboardInterrupt
        os.write(self._wake_write, b"!")

    def _ask_to_cancel(self) -> None:
        self.say("cancelling the run; Ctrl-C once more leaves without waiting")
        try:
            self._api.cancel(self._run_id)
        except (Refused, Unreachable) as error:
            self.say(error.detail)

    def _show_typing(self, shown: bool) -> None:
        if not self._asks or not sys.stdin.isatty():
            return
        with suppress(termios.error):
            state = termios.tcgetattr(sys.stdin)
            state[3] = state[3] | termios.ECHO if shown else state[3] & ~termios.ECHO
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, state)
