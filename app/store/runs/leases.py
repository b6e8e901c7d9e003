"""Who supervises which run: leases taken by compare-and-set, tokens that only rise, the runs that nobody supervises."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, and_, bindparam, case, exists, literal_column, or_, select, update

from app.domain.metrics import REPAIRED, TAKEOVERS
from app.domain.reconcile import LOOK_AFTER_PARKED_S, REDISPATCH_AFTER_S, repair
from app.domain.runs.question import QuestionState
from app.domain.runs.run import Run, Status
from app.store import clock, counters
from app.store.engine import begin, db_now, reading
from app.store.runs.rows import run_of
from app.store.schema.tables import IS_SUPERVISED, questions, runs

_LEASE_FREE = or_(runs.c.lease_until.is_(None), runs.c.lease_until < db_now())
_IS_WAITING = runs.c.status == literal_column(f"'{Status.WAITING.value}'")
_IS_PARKED = and_(_IS_WAITING, runs.c.lease_until.is_(None))
_HANDED_OUT_LONG_AGO = or_(
    runs.c.dispatched_at.is_(None),
    runs.c.dispatched_at < db_now() - case((_IS_PARKED, LOOK_AFTER_PARKED_S), else_=REDISPATCH_AFTER_S),
)

# Take a run that nobody holds; the new token fences everyone who held it before.
CLAIM = (
    update(runs)
    .where(runs.c.id == bindparam("run"), IS_SUPERVISED, _LEASE_FREE)
    .values(
        token=runs.c.token + 1,
        taken_from=runs.c.lease_owner,
        lease_owner=bindparam("process"),
        lease_until=db_now() + bindparam("lease_s"),
    )
    .returning(*runs.c)
)

# Renew all leases of a process at once. One that ran out is still ours as long as nobody else has claimed the run.
RENEW = (
    update(runs)
    .where(runs.c.lease_owner == bindparam("process"), IS_SUPERVISED)
    .values(lease_until=db_now() + bindparam("lease_s"))
    .returning(runs.c.id, runs.c.token)
)

# Give a run back so that it is handed out again at once.
RELEASE = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED)
    .values(lease_owner=None, lease_until=None, dispatched_at=None)
)

# Leave a waiting run to itself, unless there is news for it.
_NEWS = exists().where(
    questions.c.run_id == runs.c.id,
    questions.c.state.in_([QuestionState.ANSWERED.value, QuestionState.EXPIRED.value]),
    questions.c.delivered_at.is_(None),
)
PARK = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.token == bindparam("held"),
        _IS_WAITING,
        runs.c.cancel_requested_at.is_(None),
        ~_NEWS,
    )
    .values(lease_owner=None, lease_until=None, dispatched_at=db_now())
)

# Note that a parked run is handed out because there is news for it.
UNPARK = update(runs).where(runs.c.id == bindparam("run"), _IS_PARKED).values(dispatched_at=db_now())

# The runs that somebody should supervise and nobody does (see domain.reconcile), those handed out longest ago first.
UNSUPERVISED = (
    select(*runs.c)
    .where(IS_SUPERVISED, _LEASE_FREE, _HANDED_OUT_LONG_AGO)
    .order_by(runs.c.dispatched_at.is_not(None), runs.c.dispatched_at)
    .limit(bindparam("at_most"))
)

# Note that such a run is handed out now, by one process of those that saw it.
MARK_DISPATCHED = (
    update(runs)
    .where(runs.c.id == bindparam("run"), IS_SUPERVISED, _LEASE_FREE, _HANDED_OUT_LONG_AGO)
    .values(dispatched_at=db_now())
)

# Where the logs of the runs end that ended a moment ago.
ENDED_LATELY = (
    select(runs.c.id, runs.c.token, runs.c.archived_epoch, runs.c.archived_seq)
    .where(runs.c.ended_at > db_now() - bindparam("within_s"), runs.c.ended_at < db_now() - bindparam("after_s"))
    .order_by(runs.c.ended_at.desc())
    .limit(bindparam("at_most"))
)


class Ended(NamedTuple):
    """A run that has ended: the last token, and the position of its end event."""

    run_id: str
    token: int
    epoch: int
    seq: int


class RunLeases:
    """Leases on runs."""

    def __init__(self, engine: Engine) -> None:
        """Use the engine's database."""
        self._engine = engine

    def claim(self, run_id: str, process_id: str, lease_s: float) -> Run | None:
        """Take the lease of a run that left the queue, with a higher token; None when another holds it or it ended."""
        with begin(self._engine) as connection:
            values = {"run": run_id, "process": process_id, "lease_s": lease_s}
            row = connection.execute(CLAIM, values).one_or_none()
            if row is not None and row.taken_from is not None:
                counters.add(connection, [TAKEOVERS.count()])
            return run_of(row) if row else None

    def renew(self, process_id: str, lease_s: float) -> set[tuple[str, int]]:
        """Renew every lease of the process; return the (run id, token) that it holds."""
        with begin(self._engine) as connection:
            rows = connection.execute(RENEW, {"process": process_id, "lease_s": lease_s})
            return {(row.id, row.token) for row in rows}

    def release(self, run_id: str, token: int) -> None:
        """Give the lease up so that another process takes over at once; nothing happens when it is not ours any more."""
        with begin(self._engine) as connection:
            connection.execute(RELEASE, {"run": run_id, "held": token})

    def park(self, run_id: str, token: int) -> bool:
        """Give up the lease of a run that waits for a person; False when there is news for it, or it is not ours any more."""
        with begin(self._engine) as connection:
            return connection.execute(PARK, {"run": run_id, "held": token}).rowcount == 1

    def unpark(self, run_id: str) -> bool:
        """Note that a parked run is to be handed out now; False when it is not parked."""
        with begin(self._engine) as connection:
            return connection.execute(UNPARK, {"run": run_id}).rowcount == 1

    def unsupervised(self, limit: int) -> tuple[list[Run], float]:
        """Return candidates for domain.reconcile.unsupervised, and the database's clock to judge them by."""
        with reading(self._engine) as connection:
            rows = connection.execute(UNSUPERVISED, {"at_most": limit}).all()
            return [run_of(row) for row in rows], clock.now(connection)

    def mark_dispatched(self, run: Run) -> bool:
        """Note that the run is handed out again; True for exactly one of the processes that try at the same time."""
        with begin(self._engine) as connection:
            marked = connection.execute(MARK_DISPATCHED, {"run": run.id}).rowcount == 1
            if marked and (kind := repair(run)):
                counters.add(connection, [REPAIRED.count(kind)])
            return marked

    def ended_lately(self, after_s: float, within_s: float, limit: int) -> list[Ended]:
        """Return the runs that ended more than `after_s` and less than `within_s` seconds ago, the last one first."""
        values = {"after_s": after_s, "within_s": within_s, "at_most": limit}
        with reading(self._engine) as connection:
            return [Ended(*row) for row in connection.execute(ENDED_LATELY, values)]
