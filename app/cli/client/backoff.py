"""How long to wait before a request or a connection is tried again."""

from __future__ import annotations

import random

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 20.0


def retry_delay_s(failures: int, random_share: float | None = None) -> float:
    """Return how long to wait after so many failures before (0 for the first): between 0 and min(20, 0.5 · 2^failures) seconds.

    Full jitter, so that many watchers do not come back at once: see "Exponential Backoff And Jitter" (M. Brooker, 2015).
    `random_share`, from 0 to 1, takes the place of chance.
    """
    share = random.random() if random_share is None else random_share
    return share * float(min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures, 16)))
