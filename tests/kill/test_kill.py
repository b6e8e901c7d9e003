"""A short kill test, as every continuous integration runs it. `scripts/killtest --minutes N` is the long one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import Podwire
from tests.kill.chaos import Chaos
from tests.kill.ground import LocalGround
from tests.kill.trial import LEASE_S, Plan, trial
from tests.servers import Postgres

DURATION_S = 75.0


@pytest.fixture
def podwire() -> Iterator[Podwire]:
    """A Podwire with a server of its own, so that nothing else notices what is done to it."""
    postgres = Postgres(max_connections=300)
    podwire = None
    try:
        postgres.start()
        podwire = Podwire(postgres, lease_s=LEASE_S, renew_s=1, max_active=10, max_active_per_owner=10)
        podwire.start()
        yield podwire
    finally:
        if podwire is not None:
            podwire.stop()
        postgres.remove()


@pytest.mark.kill
@pytest.mark.trap("R1")
@pytest.mark.trap("R5")
@pytest.mark.trap("S3")
@pytest.mark.trap("S7")
@pytest.mark.trap("S15")
@pytest.mark.trap("Q3")
@pytest.mark.trap("Q10")
def test_nothing_is_lost_or_doubled_whatever_is_killed(podwire: Podwire, tmp_path: Path) -> None:
    seed = random.randrange(1, 100_000)
    print(f"seed {seed}")
    verdict = trial(podwire, LocalGround(tmp_path), Chaos(podwire, seed, LEASE_S), Plan(DURATION_S, seed))
    print(verdict.table)
    assert not verdict.complaints, "\n".join([verdict.table, *verdict.complaints[:20], podwire.tails()])
