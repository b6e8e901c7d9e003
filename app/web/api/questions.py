"""Questions of running code over HTTP."""

from __future__ import annotations

from flask import Blueprint, Response

from app.service import queries
from app.service.runs import answer as answering
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.resources import question_page, question_resource
from app.web.api.schemas import AnswerRequest, NoQuery
from app.web.auth import current_person
from app.web.context import context

bp = Blueprint("questions", __name__)
ANSWER_BYTES = 256 * 1024


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
