"""Questions of running code over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from app.domain.runs.question import Question, QuestionKind
from app.service import queries
from app.service.runs import answer as answering
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.shapes import NoQuery, Shape, Time
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("questions", __name__)
ANSWER_BYTES = 256 * 1024


class AnswerRequest(Shape):
    """An answer to a question: the value that its kind asks for."""

    value: object = Field(description="text, number, true or false, or an object for a form")
    id: str | None = Field(None, min_length=1, max_length=128, description="the same id again is the same answer")


class QuestionResource(BaseModel):
    """A question of running code. The value of a secret is never shown."""

    id: str
    run: str
    text: str
    kind: str
    choices: list[str]
    default: object
    form: dict[str, object] | None
    who: str
    state: str
    value: object
    created_at: Time
    expires_at: Time | None
    answered_at: Time | None
    answered_by: str | None


class QuestionPage(BaseModel):
    """Questions."""

    items: list[QuestionResource]


@bp.get("/v1/runs/<run:run_id>/questions")
def of_run(run_id: str) -> Response:
    """List a run's questions."""
    parsing.query(NoQuery)
    return answer(question_page(queries.questions(context().services, current_person(), run_id)))


@bp.get("/v1/questions")
def open_questions() -> Response:
    """List the open questions for me."""
    parsing.query(NoQuery)
    return answer(question_page(queries.open_questions(context().services, current_person())))


@bp.post("/v1/questions/<question:question_id>/answer")
def answer_question(question_id: str) -> Response:
    """Answer a question."""
    person = current_person()
    given = parsing.parse(AnswerRequest, parsing.json_body(ANSWER_BYTES))
    return answer(question_resource(answering.answer(context().services, person, question_id, given.value, given.id)))


def question_resource(question: Question) -> QuestionResource:
    """Return the question as its readers may see it."""
    asked = question.asked
    secret = asked.kind is QuestionKind.SECRET
    return QuestionResource(
        id=question.id,
        run=question.run_id,
        text=asked.text,
        kind=asked.kind.value,
        choices=list(asked.choices),
        default=None if secret else asked.default,
        form=dict(asked.schema) if asked.schema is not None else None,
        who=asked.who,
        state=question.state.value,
        value=None if secret else question.value,
        created_at=question.created_at,
        expires_at=question.expires_at,
        answered_at=question.answered_at,
        answered_by=question.answered_by,
    )


def question_page(questions: Sequence[Question]) -> QuestionPage:
    """Return a list of questions."""
    return QuestionPage(items=[question_resource(question) for question in questions])
