"""Questions of running code: asked once, answered once, expired once, from whichever process.

What may be asked and which values are answers is the domain's; who may answer, and when, is the predicate of one UPDATE here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets

from sqlalchemy import Connection, Engine, bindparam, case, exists, func, insert, literal_column, or_, select, update

from app.domain.errors import AlreadyAnswered, Fenced, LimitReached, NotFound, QuestionClosed, QuestionExpired
from app.domain.ids import question_id
from app.domain.person import Person
from app.domain.runs.question import Asked, Question, QuestionKind, QuestionState
from app.domain.runs.run import FINAL
from app.store.engine import begin, db_now, reading
from app.store.runs.rows import AnyRow, digest, storable
from app.store.schema.tables import IS_OPEN, IS_SUPERVISED, questions, runs

_SCRYPT = {"n": 2**14, "r": 8, "p": 1}

_IN_TIME = or_(questions.c.expires_at.is_(None), questions.c.expires_at > db_now())
_MAY_ANSWER = or_(
    questions.c.who == "anyone", questions.c.owner_id == bindparam("person"), bindparam("is_admin") == literal_column("1")
)
_RUN_GOES_ON = ~exists().where(runs.c.id == questions.c.run_id, runs.c.status.in_(sorted(status.value for status in FINAL)))
_BY_ID = questions.c.id == bindparam("question")

# The run that asks, if its token holds. It is locked, so that its end waits until the question is there to be closed.
ASKING_RUN = (
    select(runs.c.owner_id)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED)
    .with_for_update()
)

# How many questions an attempt has asked.
COUNT = select(func.count()).where(questions.c.run_id == bindparam("run"), questions.c.attempt == bindparam("which"))

# A new open question.
INSERT = (
    insert(questions)
    .values(state=QuestionState.OPEN.value, created_at=db_now(), expires_at=db_now() + bindparam("timeout_s", None))
    .returning(*questions.c)
)

# Accept an answer: everything that must hold is in the condition, so of many answers at once one wins.
ANSWER = (
    update(questions)
    .where(_BY_ID, IS_OPEN, _IN_TIME, _MAY_ANSWER, _RUN_GOES_ON)
    .values(
        state=QuestionState.ANSWERED.value,
        value=bindparam("new_value"),
        digest=bindparam("new_digest"),
        reply_id=bindparam("reply"),
        answered_by_id=bindparam("person"),
        answered_by=bindparam("by"),
        answered_at=db_now(),
    )
    .returning(*questions.c)
)

# A question by its id, and whether its run has ended.
GET = select(*questions.c).where(_BY_ID)

# The same, to explain why an answer was not accepted.
EXPLAIN = select(*questions.c, _MAY_ANSWER.label("may_answer"), _IN_TIME.label("in_time")).where(_BY_ID)

# All questions of a run, in the order of asking.
OF_RUN = select(*questions.c).where(questions.c.run_id == bindparam("run")).order_by(questions.c.attempt, questions.c.number)

# The open questions that a person may answer, oldest first.
OPEN_FOR = select(*questions.c).where(IS_OPEN, _IN_TIME, _MAY_ANSWER).order_by(questions.c.created_at, questions.c.id).limit(1000)

# What the agent of an attempt waits for and has not acknowledged.
UNDELIVERED = (
    select(*questions.c)
    .where(
        questions.c.run_id == bindparam("run"),
        questions.c.attempt == bindparam("which"),
        questions.c.state.in_([QuestionState.ANSWERED.value, QuestionState.EXPIRED.value]),
        questions.c.delivered_at.is_(None),
    )
    .order_by(questions.c.number)
)

# The agent has the answer; of a secret, only the digest is kept from here on.
DELIVERED = (
    update(questions)
    .where(_BY_ID, questions.c.delivered_at.is_(None))
    .values(
        delivered_at=db_now(),
        value=case((questions.c.kind == QuestionKind.SECRET.value, None), else_=questions.c.value),
    )
)

# Settle the questions whose time is over: by their default, or as expired. The condition is said twice, because a
# process that waited for another's lock looks at the row again, but not at the list.
_due = select(questions.c.id).where(IS_OPEN, questions.c.expires_at <= db_now()).limit(bindparam("at_most"))
EXPIRE_DUE = (
    update(questions)
    .where(IS_OPEN, questions.c.id.in_(_due))
    .values(
        state=case((questions.c.default_value.is_(None), QuestionState.EXPIRED.value), else_=QuestionState.ANSWERED.value),
        value=questions.c.default_value,
        answered_at=db_now(),
    )
    .returning(*questions.c)
)

# Nobody needs the answer any more.
CLOSE = (
    update(questions)
    .where(_BY_ID, IS_OPEN)
    .values(state=QuestionState.CLOSED.value, answered_at=db_now())
    .returning(*questions.c)
)

# The same of all questions of an attempt that is over.
CLOSE_QUESTIONS = (
    update(questions)
    .where(questions.c.run_id == bindparam("run"), IS_OPEN)
    .values(state=QuestionState.CLOSED.value, answered_at=db_now())
)


class QuestionStore:
    """The questions. Every method raises StoreUnavailable when the database cannot be reached."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def ask(self, run_id: str, token: int, attempt: int, asked: Asked, max_questions: int) -> tuple[Question, bool]:
        """Store a question and say whether it is new; reading the agent's record again finds the same one.

        Raises: Fenced when the token is not the run's any more, LimitReached.
        """
        identity = question_id(run_id, attempt, asked.number)
        with begin(self._engine) as connection:
            run = connection.execute(ASKING_RUN, {"run": run_id, "held": token}).one_or_none()
            if run is None:
                raise Fenced()
            earlier = connection.execute(GET, {"question": identity}).one_or_none()
            if earlier is not None:
                return _question(earlier), False
            _check_count(connection, run_id, attempt, max_questions)
            row = {"id": identity, "run_id": run_id, "owner_id": run.owner_id, "attempt": attempt, **_columns(asked)}
            return _question(connection.execute(INSERT, row).one()), True

    def answer(self, question_id: str, person: Person, value: object, reply_id: str | None) -> Question:
        """Accept the value, which must have passed check_value, if it is the first; the same answer again is fine.

        Raises: NotFound (also for those who may not answer), AlreadyAnswered with `accepted`, QuestionClosed,
        QuestionExpired; whatever is refused changes nothing.
        """
        kept = self.get(question_id)
        if kept is None:
            raise NotFound()
        secret = kept.asked.kind is QuestionKind.SECRET
        reply = digest(reply_id) if reply_id is not None else None
        who = {"question": question_id, "person": person.id, "is_admin": int(person.is_admin)}
        answer = {
            "new_value": json.dumps(value),
            "new_digest": _secret_digest(json.dumps(value)) if secret else None,
            "reply": reply,
            "by": storable(person.name),
        }
        with begin(self._engine) as connection:
            row = connection.execute(ANSWER, {**who, **answer}).one_or_none()
            if row is not None:
                return _question(row)
        with reading(self._engine) as connection:
            return _explain(connection.execute(EXPLAIN, who).one_or_none(), person, value, reply)

    def get(self, question_id: str) -> Question | None:
        """Return the question, or None."""
        with reading(self._engine) as connection:
            row = connection.execute(GET, {"question": question_id}).one_or_none()
            return _question(row) if row is not None else None

    def of_run(self, run_id: str) -> list[Question]:
        """Return all questions of a run, in the order of asking."""
        with reading(self._engine) as connection:
            return [_question(row) for row in connection.execute(OF_RUN, {"run": run_id})]

    def open_for(self, person: Person) -> list[Question]:
        """Return the open questions that the person may answer, oldest first."""
        who = {"person": person.id, "is_admin": int(person.is_admin)}
        with reading(self._engine) as connection:
            return [_question(row) for row in connection.execute(OPEN_FOR, who)]

    def undelivered(self, run_id: str, attempt: int) -> list[Question]:
        """Return the settled questions whose outcome the agent of the attempt has not acknowledged."""
        with reading(self._engine) as connection:
            rows = connection.execute(UNDELIVERED, {"run": run_id, "which": attempt})
            return [_question(row) for row in rows]

    def delivered(self, question_id: str) -> None:
        """Note that the agent has the outcome, and forget the value of a secret. Idempotent."""
        with begin(self._engine) as connection:
            connection.execute(DELIVERED, {"question": question_id})

    def expire_due(self, limit: int) -> list[Question]:
        """Settle questions whose time is over and return those that this call settled; of many callers one gets each."""
        with begin(self._engine) as connection:
            return [_question(row) for row in connection.execute(EXPIRE_DUE, {"at_most": limit})]

    def close(self, question_id: str) -> Question | None:
        """Close the question; None when it was not open any more."""
        with begin(self._engine) as connection:
            row = connection.execute(CLOSE, {"question": question_id}).one_or_none()
            return _question(row) if row is not None else None


def _check_count(connection: Connection, run_id: str, attempt: int, max_questions: int) -> None:
    count = connection.execute(COUNT, {"run": run_id, "which": attempt}).scalar_one()
    if count >= max_questions:
        raise LimitReached(
            f"This run has asked {count} questions; the limit is {max_questions}.",
            limit=max_questions,
            current=count,
        )


def _columns(asked: Asked) -> dict[str, object]:
    return {
        "number": asked.number,
        "kind": asked.kind.value,
        "who": asked.who,
        "asked": json.dumps(
            {
                "number": asked.number,
                "text": asked.text,
                "kind": asked.kind.value,
                "choices": asked.choices,
                "default": asked.default,
                "schema": asked.schema,
                "timeout_s": asked.timeout_s,
                "who": asked.who,
            }
        ),
        "default_value": json.dumps(asked.default) if asked.default is not None else None,
        "timeout_s": asked.timeout_s,
    }


def _question(row: AnyRow) -> Question:
    asked = json.loads(row.asked)
    kind, choices = QuestionKind(asked.pop("kind")), tuple(asked.pop("choices"))
    return Question(
        id=row.id,
        run_id=row.run_id,
        attempt=row.attempt,
        asked=Asked(kind=kind, choices=choices, **asked),
        state=QuestionState(row.state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        value=json.loads(row.value) if row.value is not None else None,
        answered_by=row.answered_by,
        answered_at=row.answered_at,
        delivered_at=row.delivered_at,
    )


def _explain(row: AnyRow | None, person: Person, value: object, reply: str | None) -> Question:
    """Return the accepted question when this is the same answer again; otherwise raise why it was not accepted."""
    if row is None or not row.may_answer:
        raise NotFound()
    kept = _question(row)
    if kept.state is QuestionState.ANSWERED:
        # Clients choose reply ids, so one means something only together with the person.
        again = reply is not None and row.reply_id == reply and row.answered_by_id == person.id
        if again or _same(row, value):
            return kept
        secret = kept.asked.kind is QuestionKind.SECRET
        raise AlreadyAnswered(accepted=None if secret else kept.value)
    if kept.state is QuestionState.EXPIRED or (kept.state is QuestionState.OPEN and not row.in_time):
        raise QuestionExpired()
    raise QuestionClosed()


def _same(row: AnyRow, value: object) -> bool:
    if row.digest is not None:
        salt = row.digest.partition(":")[0]
        return hmac.compare_digest(_secret_digest(json.dumps(value), bytes.fromhex(salt)), row.digest)
    return row.value is not None and json.dumps(json.loads(row.value), sort_keys=True) == json.dumps(value, sort_keys=True)


def _secret_digest(text: str, salt: bytes | None = None) -> str:
    """Return a salted digest that is slow to try passwords against."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"{salt.hex()}:{hashlib.scrypt(text.encode(), salt=salt, **_SCRYPT, dklen=32).hex()}"
