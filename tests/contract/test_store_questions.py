"""Questions: one accepted answer, by someone who may, in time; expired once; closed with the run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import select

from app.domain.errors import (
    AlreadyAnswered,
    Fenced,
    LimitReached,
    NotFound,
    QuestionClosed,
    QuestionExpired,
)
from app.domain.person import Person
from app.domain.runs.question import Asked, Question, QuestionKind, QuestionState
from app.store.engine import begin
from app.store.runs.questions import EXPIRE_DUE
from app.store.schema import tables

CHOICE = Asked(1, "Which \0?", QuestionKind.CHOICE, ("red", "blue"), "red", None, 60.0)


def asked(house, question=CHOICE, run=None):
    run = run or house.running()
    return house.store.questions.ask(run.id, run.token, run.attempt, question, 10)[0]


@pytest.mark.trap("Q10", "Q13", "Q5")
def test_asking_again_finds_the_same_question_and_the_count_is_capped(house, other_house, at_once):
    run = house.running()
    results = at_once(*(lambda h=h: h.store.questions.ask(run.id, run.token, 1, CHOICE, 2) for h in (house, other_house) * 4))
    questions = [question for question, _ in results]
    assert len(set(q.id for q in questions)) == 1 and [created for _, created in results].count(True) == 1
    kept = house.store.questions.get(questions[0].id)
    assert kept == questions[0] and kept.asked == CHOICE and kept.id == f"{run.id}-1-1"
    assert kept.expires_at == pytest.approx(kept.created_at + 60, abs=0.1)
    house.store.questions.ask(run.id, run.token, 1, Asked(2, "Again?"), 2)
    with pytest.raises(LimitReached) as limit:
        house.store.questions.ask(run.id, run.token, 1, Asked(3, "And again?"), 2)
    assert limit.value.extensions == {"limit": 2, "current": 2}
    assert [q.asked.number for q in house.store.questions.of_run(run.id)] == [1, 2]
    with pytest.raises(Fenced):
        house.store.questions.ask(run.id, run.token - 1, 1, Asked(4, "Late?"), 10)


@pytest.mark.trap("Q3", "Q1")
def test_of_twenty_answers_at_once_one_wins_and_all_hear_the_same(house, other_house, at_once):
    question = asked(house)
    values = ["red", "blue"] * 10
    results = at_once(
        *(
            lambda h=h, n=n, v=v: h.store.questions.answer(question.id, h.ann, v, f"reply-{n}")
            for n, (h, v) in enumerate(zip((house, other_house) * 10, values, strict=True))
        )
    )
    accepted = house.store.questions.get(question.id)
    assert accepted.state is QuestionState.ANSWERED and accepted.answered_by == "ann"
    for value, result in zip(values, results, strict=True):
        if value == accepted.value:
            assert result == accepted
        else:
            assert isinstance(result, AlreadyAnswered) and result.extensions == {"accepted": accepted.value}


@pytest.mark.trap("Q3")
def test_the_same_reply_is_the_same_answer_for_the_same_person_only(house):
    question = asked(house, Asked(1, "Name?", who="anyone"))
    first = house.store.questions.answer(question.id, house.ann, "x", "c1")
    assert house.store.questions.answer(question.id, house.ann, "y", "c1") == first
    with pytest.raises(AlreadyAnswered):
        house.store.questions.answer(question.id, house.bob, "y", "c1")
    with pytest.raises(AlreadyAnswered):
        house.store.questions.answer(question.id, house.ann, "y", None)


@pytest.mark.trap("Q4", "S16")
def test_a_stranger_s_answer_is_not_found_and_takes_nothing(house):
    question = asked(house)
    for _ in range(2):
        with pytest.raises(NotFound):
            house.store.questions.answer(question.id, house.bob, "blue", "c1")
    assert house.store.questions.get(question.id) == question
    assert house.store.questions.answer(question.id, house.root, "red", None).answered_by == "root"
    with pytest.raises(NotFound):
        house.store.questions.answer(question.id, house.bob, "red", None)
    with pytest.raises(NotFound):
        house.store.questions.answer("nothing", house.ann, "red", None)


def test_open_questions_are_shown_to_those_who_may_answer(house):
    mine = asked(house)
    public = asked(house, Asked(1, "Anyone?", who="anyone"), house.running(house.bob))
    theirs = asked(house, Asked(2, "Bob?"), house.store.runs.get(public.run_id))
    late = asked(house, Asked(1, "Late?", timeout_s=-1.0))

    def ids(person):
        return [question.id for question in house.store.questions.open_for(person)]

    assert ids(house.ann) == [mine.id, public.id]
    assert ids(house.bob) == [public.id, theirs.id]
    assert ids(house.root) == [mine.id, public.id, theirs.id] and late.id not in ids(house.root)
    assert ids(Person("u-x", "x")) == [public.id]


@pytest.mark.trap("Q6", "Q7")
def test_expiry_happens_once_and_takes_the_default(house, other_house, at_once):
    run = house.running()
    with_default = asked(house, Asked(1, "Colour?", default="red", timeout_s=-1.0), run)
    without = asked(house, Asked(2, "Name?", timeout_s=-1.0), run)
    later = asked(house, Asked(3, "Later?", timeout_s=60.0), run)
    with pytest.raises(QuestionExpired):
        house.store.questions.answer(without.id, house.ann, "x", None)
    results = at_once(*(lambda h=h: h.store.questions.expire_due(10) for h in (house, other_house) * 4))
    settled = [question for result in results for question in result]
    assert sorted(q.id for q in settled) == [with_default.id, without.id]
    by_default, expired = house.store.questions.get(with_default.id), house.store.questions.get(without.id)
    assert (by_default.state, by_default.value, by_default.answered_by) == (QuestionState.ANSWERED, "red", None)
    assert (expired.state, expired.value) == (QuestionState.EXPIRED, None)
    with pytest.raises(QuestionExpired):
        house.store.questions.answer(without.id, house.ann, "x", None)
    with pytest.raises(AlreadyAnswered):
        house.store.questions.answer(with_default.id, house.ann, "blue", None)
    assert house.store.questions.get(later.id) == later and house.store.questions.expire_due(10) == []


@pytest.mark.trap("Q7")
def test_who_waited_for_another_s_expiry_finds_nothing_left(house, other_engine):
    question = asked(house, Asked(1, "Still there?", timeout_s=-1.0))
    with ThreadPoolExecutor(1) as pool:
        with begin(other_engine) as connection:
            settled = connection.execute(EXPIRE_DUE, {"at_most": 10}).all()
            second = pool.submit(house.store.questions.expire_due, 10)
            wait([second], timeout=0.3)
            assert not second.done(), "it waits for the first"
        assert [row.id for row in settled] == [question.id] and second.result(10) == []


@pytest.mark.trap("Q11", "Q6")
def test_the_end_of_the_run_closes_its_questions_whatever_races(house, other_house, at_once):
    for _ in range(8):
        run = house.running()
        question = asked(house, CHOICE, run)
        results = at_once(
            lambda run=run: house.ended(run),
            lambda q=question: other_house.store.questions.answer(q.id, house.ann, "blue", None),
        )
        kept = house.store.questions.get(question.id)
        if isinstance(results[1], Question):
            assert kept == results[1]
        else:
            assert isinstance(results[1], QuestionClosed) and kept.state is QuestionState.CLOSED
        with pytest.raises(Fenced):
            house.store.questions.ask(run.id, run.token, 1, Asked(2, "Still there?"), 10)


@pytest.mark.trap("Q12", "Q2")
def test_what_the_agent_has_not_acknowledged_is_given_again_in_order(house):
    run = house.running()
    questions = [asked(house, Asked(n, f"{n}?"), run) for n in (1, 2, 3)]
    for n in (2, 0):
        house.store.questions.answer(questions[n].id, house.ann, {"n": [n, None, True, 1.5]}, None)
    assert [(q.asked.number, q.value["n"][0]) for q in house.store.questions.undelivered(run.id, 1)] == [(1, 0), (3, 2)]
    house.store.questions.delivered(questions[0].id)
    house.store.questions.delivered(questions[0].id)
    assert [q.asked.number for q in house.store.questions.undelivered(run.id, 1)] == [3]
    assert house.store.questions.undelivered(run.id, 2) == []
    assert house.store.questions.close(questions[1].id).state is QuestionState.CLOSED
    assert house.store.questions.close(questions[1].id) is None


def test_a_secret_is_forgotten_once_delivered_and_still_recognised(house, engine):
    question = asked(house, Asked(1, "Password?", QuestionKind.SECRET))
    secret = "correct horse"
    assert house.store.questions.answer(question.id, house.ann, secret, None).value == secret
    house.store.questions.delivered(question.id)
    assert house.store.questions.get(question.id).value is None
    with engine.connect() as connection:
        assert "horse" not in str(connection.execute(select(tables.questions)).all())
    assert house.store.questions.answer(question.id, house.ann, secret, None).state is QuestionState.ANSWERED
    with pytest.raises(AlreadyAnswered) as other:
        house.store.questions.answer(question.id, house.ann, "wrong", None)
    assert other.value.extensions == {"accepted": None}
