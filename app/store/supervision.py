"""Who supervises which run: leases taken by compare-and-set, tokens that only rise, the runs that nobody supervises."""

from __future__ import annotations

from sqlalchemy import Engine, bindparam, or_, select, update

from app.domain.errors import Fenced
from app.domain.reconcile import REDISPATCH_AFTER_S
from app.domain.run import Run
from app.store.engine import begin, db_now, reading
from app.store.rows import run_of
from app.store.tables import IS_SUPERVISED, runs

_LEASE_FREE = or_(runs.c.lease_until.is_(None), runs.c.lease_until < db_now())
_HANDED_OUT_LONG_AGO = or_(runs.c.dispatched_at.is_(None), runs.c.dispatched_at < db_now() - REDISPATCH_AFTER_S)

# Take a run that nobody holds; the new token fences everyone who held it before.
CLAIM = (
    update(runs)
    .where(runs.c.id == bindparam("run"), IS_SUPERVISED, _LEASE_FREE)
    .values(token=runs.c.token + 1, lease_owner=bindparam("process"), lease_until=db_now() + bindparam("lease_s"))
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

# Keep the launcher's handle of the present attempt.
SET_HANDLE = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.token == bindparam("held"), IS_SUPERVISED)
    .values(handle=bindparam("new_handle"))
    .returning(*runs.c)
)

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

# Every attempt that a launcher may have on its hands for a reason.
UNFINISHED = select(runs.c.id, runs.c.attempt).where(IS_SUPERVISED)

# The database's clock.
NOW = select(db_now())


class Supervision:
    """Leases on runs. Part of RunStore."""

    _engine: Engine

    def claim(self, run_id: str, process_id: str, lease_s: float) -> Run | None:
        """Take the lease of a run that left the queue, with a higher token; None when another holds it or it ended."""
        with begin(self._engine) as connection:
            values = {"run": run_id, "process": process_id, "lease_s": lease_s}
            row = connection.execute(CLAIM, values).one_or_none()
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

    def set_handle(self, run_id: str, token: int, handle: str) -> Run:
        """Keep what the launcher returned. Raises: Fenced."""
        with begin(self._engine) as connection:
            values = {"run": run_id, "held": token, "new_handle": handle}
            row = connection.execute(SET_HANDLE, values).one_or_none()
            if row is None:
                raise Fenced()
            return run_of(row)

    def unsupervised(self, limit: int) -> tuple[list[Run], float]:
        """Return candidates for domain.reconcile.unsupervised, and the database's clock to judge them by."""
        with reading(self._engine) as connection:
            rows = connection.execute(UNSUPERVISED, {"at_most": limit}).all()
            return [run_of(row) for row in rows], connection.execute(NOW).scalar_one()

    def mark_dispatched(self, run_id: str) -> bool:
        """Note that the run is handed out again; True for exactly one of the processes that try at the same time."""
        with begin(self._engine) as connection:
            return connection.execute(MARK_DISPATCHED, {"run": run_id}).rowcount == 1

    def unfinished_attempts(self) -> list[tuple[str, int]]:
        """Return the (run id, attempt) that launchers must keep."""
        with reading(self._engine) as connection:
            return [(row.id, row.attempt) for row in connection.execute(UNFINISHED)]

    def now(self) -> float:
        """Return the database's clock."""
        with reading(self._engine) as connection:
            return connection.execute(NOW).scalar_one()
