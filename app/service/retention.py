"""Runs that ended long ago are removed, with their output, questions and evidence; how long they are kept is configured."""

from __future__ import annotations

import logging
import time

from app.service.services import Services

logger = logging.getLogger(__name__)

# Other periodic work of this process waits for a round; what is left comes in the next one.
ROUND_S = 5.0


def remove_expired(services: Services) -> int:
    """Remove the runs that ended longer ago than runs are kept, the oldest first; return how many."""
    if services.keep_runs_s <= 0:
        return 0
    count, until = 0, time.monotonic() + ROUND_S
    while time.monotonic() < until and services.store.retention.remove_oldest(services.keep_runs_s):
        count += 1
    if count:
        logger.info("%d runs that ended more than %g s ago were removed", count, services.keep_runs_s)
    return count
