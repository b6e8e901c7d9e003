"""Bring what is seen back to what is wanted: runs without a supervisor, queued runs past their time, questions past theirs,
leftovers.

Every function may run anywhere, at any time, twice at once.
"""

from __future__ import annotations

import logging

from app.domain.errors import Fenced
from app.domain.metrics import REPAIRED
from app.domain.ports import Attempt
from app.domain.reconcile import Fate, fate, orphans, unsupervised
from app.domain.runs.run import Outcome, Reason, Run, Status
from app.domain.runs.spec import RunSpec
from app.service.queue.dispatch import dispatch, hand_out, wake
from app.service.runs.finish import announce_end, finish_queued
from app.service.services import Services

logger = logging.getLogger(__name__)

BATCH = 200
# Whoever writes an end announces it at once, so there is nothing to do for ends that are older.
ANNOUNCED_AFTER_S, ANNOUNCED_WITHIN_S = 1.0, 15.0


def redispatch(services: Services) -> int:
    """Hand out again the runs that nobody supervises; return how many."""
    rows, now = services.store.leases.unsupervised(BATCH)
    count = 0
    for run in unsupervised(rows, now):
        if services.store.leases.mark_dispatched(run):
            logger.info("run %s: %s without a supervisor; handed out again", run.id, run.status)
            if not hand_out(services, run):
                break
            count += 1
    return count


def expire_runs(services: Services) -> int:
    """End the queued runs whose queue timeout is over; return how many."""
    overdue = services.store.queue.overdue(BATCH)
    count = sum(_expire(services, run) for run in overdue)
    if count:
        dispatch(services)
    return count


def _expire(services: Services, run: Run) -> bool:
    message = f"It waited in the queue for longer than its queue timeout of {run.spec.queue_timeout_s:g} seconds."
    try:
        finish_queued(services, run, Outcome(Status.EXPIRED, Reason.QUEUE_TIMEOUT, message))
    except Fenced:
        return False
    return True


def expire_questions(services: Services) -> int:
    """Settle the questions whose time is over, by their default or as expired; return how many."""
    settled = services.store.questions.expire_due(BATCH)
    for question in settled:
        wake(services, question.run_id, "reply")
    return len(settled)


def remove_orphans(services: Services) -> int:
    """Remove attempts that no unfinished run wants, those of failed runs after their time; return how many that were."""
    present = services.launcher.present()
    leftovers = orphans(present, services.store.attempts.unfinished())
    failed = services.store.attempts.failed_since(leftovers) if services.keep_failed_s else {}
    return sum(_remove_orphan(services, attempt, failed.get(attempt)) for attempt in leftovers)


def _remove_orphan(services: Services, orphan: tuple[str, int], failed_since_s: float | None) -> bool:
    attempt = Attempt(*orphan, RunSpec())
    match fate(failed_since_s, services.keep_failed_s):
        case Fate.LEAVE:
            return False
        case Fate.KEEP_IF_ENDED:
            services.launcher.remove(attempt, unless_ended=True)
            return False
    services.launcher.remove(attempt)
    if failed_since_s is None:
        logger.info("run %s: attempt %d is left over; removed", *orphan)
        services.store.counters.note(REPAIRED.count("orphan"))
    else:
        logger.info("run %s: what was left of its failed attempt %d is removed", *orphan)
    return True


def announce_ends(services: Services) -> int:
    """Announce the ends of the last moments which those who wrote them did not live to announce; return how many."""
    count = 0
    for ended in services.store.leases.ended_lately(ANNOUNCED_AFTER_S, ANNOUNCED_WITHIN_S, BATCH):
        head = services.log.head(ended.run_id)
        if head is not None and (head.epoch, head.seq) >= (ended.epoch, ended.seq):
            continue
        for end in services.store.log.read(ended.run_id, ended.seq - 1, 1):
            announce_end(services, ended.run_id, ended.token, ended.epoch, end)
            services.store.counters.note(REPAIRED.count("end_not_announced"))
            count += 1
    return count


def repair_queue(services: Services) -> bool:
    """Find the queued runs that the queue does not know of, as a process of the version before may leave them."""
    repaired = services.store.lanes.repair()
    if repaired:
        logger.warning("queue: some runs were not in their lanes; all lanes were made anew")
    return repaired
