"""Answer a question of running code, from any replica."""

from __future__ import annotations

from app.domain.errors import NotFound
from app.domain.person import Person
from app.domain.runs.question import Question, QuestionKind, QuestionState, check_value
from app.service.queue.dispatch import wake
from app.service.services import Services


def answer(services: Services, person: Person, question_id: str, value: object, reply_id: str | None = None) -> Question:
    """Settle the question with the value, once: the first accepted answer stays; the same one again is fine.

    Persisted first, then the supervisor is nudged. Raises: NotFound (also for those who may not answer), InvalidInput,
    FormTooCostly, FormUncheckable, FormsBusy, AlreadyAnswered, QuestionClosed, QuestionExpired, StoreUnavailable.
    """
    question = services.store.questions.get(question_id)
    if question is None or not _may_answer(services, person, question):
        raise NotFound("There is no such question, or it is not yours to answer.")
    answer = check_value(question.asked, value)
    if question.asked.kind is QuestionKind.FORM and question.state is QuestionState.OPEN:
        services.forms.check(question.asked.schema or {}, answer)
    settled = services.store.questions.answer(question_id, person, answer, reply_id)
    wake(services, settled.run_id, "reply")
    return settled


def _may_answer(services: Services, person: Person, question: Question) -> bool:
    if question.asked.who == "anyone":
        return True
    run = services.store.runs.get(question.run_id)
    return run is not None and person.may_see(run)
