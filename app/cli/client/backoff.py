"""How long to wait before a request or a connection is tried again."""

from __future__ import annotations

import random

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 20.0


def retry_delay_s(failures: int, random_share: float | None = None) -> float:
    """Return how long to wait before the next try: full jitter, so that many watchers do not come back at once.

    See "Exponential Backoff And Jitter" (M. Brooker, 2015).
    """
    share = random.random() if random_share is None else random_share
    return share * float(min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures, 16)))
