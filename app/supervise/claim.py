"""Take a run under supervision: the claim, the lease around it, and what happens when supervising itself fails.

A fault of ours must not keep a run from its end: it is logged, the run is released and tried again by whoever gets it, and it is
given up after a number of claims.
"""

from __future__ import annotations

import logging
import time

from app.domain.errors import Fenced, LiveUnavailable, PodwireError
from app.domain.runs.run import Run
from app.supervise.log.run_log import RunLog, adopt
from app.supervise.supervisor import Parked, Supervisor
from app.supervise.worker.lease_scope import Drained
from app.supervise.worker.worker_context import WorkerContext

logger = logging.getLogger(__name__)

# An attempt that sees this many claims has had unusual luck; one more fault of ours then ends it. Faults alone get there in a
# minute. Claims of former attempts do not count: they were other luck, and each retry raises the token by one more.
FAULTY_CLAIMS = 10


def supervise(context: WorkerContext, run_id: str, traceparent: str | None = None) -> None:
    """Claim the run and follow it to its end. Returns at once, without error, when another process has it or it has ended.

    The claim is traced below `traceparent`, which came with the message.
    Raises: Drained when this process shuts down first, StoreUnavailable when the database cannot be reached.
    """
    if context.halt.is_set():
        raise Drained
    claimed_at, began_at = time.monotonic(), time.time()
    run = context.store.leases.claim(run_id, context.process_id, context.lease_s)
    if run is None:
        return
    with context.tracer.part("claim", run, parent=traceparent, began_at=began_at):
        logger.info("run %s: supervised, token %d", run.id, run.token)
    with context.leases.hold(run.id, run.token, claimed_at):
        try:
            _follow(context, run)
        except Parked:
            logger.info("run %s: waits for a person and leaves its slot to another", run.id)
        except Fenced:
            logger.info("run %s: token %d was overtaken", run.id, run.token)
        except (Drained, PodwireError):
            raise
        except Exception:
            logger.exception("run %s: supervising it failed", run.id)
            _after_a_fault(context, run)


def _follow(context: WorkerContext, run: Run) -> None:
    log = _log_of(context, run)
    supervisor = Supervisor(context, run, log)
    with context.archiver.keeping(log), context.wakeups.registered(run.id, supervisor.wake):
        supervisor.follow()


def _log_of(context: WorkerContext, run: Run) -> RunLog:
    try:
        # The first writer ever has no former one's tail to judge.
        server = context.log.server_id() if run.token > 1 else None
    except LiveUnavailable:
        server = None
    return adopt(run, context.log, context.store.log, server)


def _after_a_fault(context: WorkerContext, run: Run) -> None:
    """Let somebody try again, or end the run when that did not help often enough."""
    try:
        row = context.store.runs.get(run.id)
        if row is not None and row.token == run.token and run.token - run.first_token >= FAULTY_CLAIMS:
            Supervisor(context, row, _log_of(context, row)).give_up()
        else:
            context.store.leases.release(run.id, run.token)
    except Fenced:
        logger.info("run %s: token %d was overtaken", run.id, run.token)
