"""Questions of running code: those that wait for the person, and answering one."""

from __future__ import annotations

import secrets

from flask import request, url_for
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import InvalidInput, NotFound
from app.domain.runs.question import Question
from app.service import queries
from app.service.runs import answer
from app.web.auth import current_person
from app.web.context import context
from app.web.pages import schema_form
from app.web.pages.site import done, is_live, local_path, page, pages, sentence


@pages.get("/questions")
def open_questions() -> AnyResponse:
    """List the open questions that the person may answer."""
    return _show(queries.open_questions(context().services, current_person()))


@pages.post("/questions/<question:question_id>/answer")
def answer_question(question_id: str) -> AnyResponse:
    """Answer a question; what will not do is shown again beside the reason."""
    services, person = context().services, current_person()
    question = services.store.questions.get(question_id)
    if question is None:
        raise NotFound("There is no such question, or it is not yours to answer.")
    try:
        value = schema_form.answer_value(question.asked, request.form)
        answer.answer(services, person, question_id, value, request.form.get("reply_id", "")[:128] or None)
    except InvalidInput as error:
        if is_live():
            raise
        return _show([question], 422, problem=sentence(error), given=request.form)
    here = url_for("pages.show_run", run_id=question.run_id)
    return done(local_path(request.form.get("next"), here), "Answered.")


def _show(questions: list[Question], status: int = 200, **values: object) -> AnyResponse:
    shared = {"form_fields": schema_form.fields, "new_id": secrets.token_hex, "next": url_for("pages.open_questions")}
    return page("questions.html", status, questions=questions, **shared, **values)
