"""A short kill test in pods; parts of the cluster are killed too. `scripts/killtest --launcher kubernetes` is the long one."""

from __future__ import annotations

import os
import random

import pytest

from tests.kill import cluster

DURATION_S = 50.0


@pytest.mark.kill
@pytest.mark.parts
@pytest.mark.trap("R2")
@pytest.mark.trap("R1")
def test_nothing_is_lost_or_doubled_whatever_part_of_the_cluster_is_killed() -> None:
    folder = os.environ.get("PODWIRE_TEST_NODE")
    if not folder:
        pytest.skip("a test node is missing: PODWIRE_TEST_NODE is not set, so no part of the cluster can be killed")
    seed = random.randrange(1, 100_000)
    print(f"seed {seed}")
    verdict = cluster.kill(cluster.plan(DURATION_S, seed), folder)
    print(verdict.table)
    assert not verdict.complaints, "\n".join([verdict.table, *verdict.complaints[:20]])
