"""The questions of an attempt from the request to the reply: each has a number, and the first reply counts."""

from __future__ import annotations

from app.agent.questions.question_files import Open, QuestionFiles, SubmittedRequest
from app.agent.questions.request import question, reply
from app.agent.records.wire_format import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Records(Protocol):
        """Where what was asked and taken is put on record."""

        ended: bool

        def drain(self) -> None:
            """Record what the program has written up to now."""

        def append(self, kind: int, payload: bytes) -> None:
            """Write a record. Raises: SpoolFailed."""

        def record(self, kind: Kind, body: dict[str, object]) -> None:
            """Write a record. Raises: SpoolFailed."""


class OpenQuestions:
    """The questions by number, from 1 on. What the program wrote before it asked, or was answered, is recorded before that is."""

    def __init__(self, files: QuestionFiles, limit: int, records: Records) -> None:
        """At most `limit` questions in all are asked; the others are refused."""
        self._files, self._limit, self._records = files, limit, records
        self._questions: list[Open] = []

    @property
    def waiting(self) -> bool:
        """Whether a question has no reply yet."""
        return not all(asked.settled for asked in self._questions)

    def collect(self) -> None:
        """Ask what was submitted. Raises: SpoolFailed."""
        requests = self._files.collect()
        if requests:
            self._records.drain()
        for submitted in requests:
            self._ask(submitted)

    def _ask(self, submitted: SubmittedRequest) -> None:
        if submitted.request is None:
            self._files.refuse(submitted, str(submitted.refusal))
        elif len(self._questions) >= self._limit:
            self._files.refuse(submitted, f"A run may ask at most {self._limit} questions.")
        else:
            body = submitted.request.body
            self._records.append(Kind.QUESTION, question(len(self._questions) + 1, body))
            self._questions.append(Open(submitted.name, submitted.lines, body.get("default")))

    def reply(self, body: dict[str, object]) -> str | None:
        """Hand a reply over; return why not. The first one counts, and its record precedes whatever the program does with it."""
        number, state = body.get("number"), str(body.get("state"))
        if not isinstance(number, int) or not 0 < number <= len(self._questions):
            return "There is no question of that number."
        asked = self._questions[number - 1]
        if asked.settled:
            return "The question has its reply already."
        if not asked.taken:
            asked.taken = True
            self._records.drain()
            if not self._records.ended:
                self._records.record(Kind.TAKEN, {"number": number, "state": state})
        message = body.get("message")
        contents = reply(asked.lines, state, body.get("value"), asked.default, str(message) if message else None)
        try:
            self._files.answer(asked.name, contents)
        except OSError as error:
            return f"The reply could not be handed over: {error.strerror}."
        asked.settled = True
        return None
