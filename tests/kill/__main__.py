"""The command line of the kill test; `scripts/killtest` starts it."""

from __future__ import annotations

import argparse
import os
import random
import sys

from tests.integration.cluster import Podwire
from tests.kill import cluster
from tests.kill.chaos import Chaos
from tests.kill.ground import LocalGround
from tests.kill.trial import LEASE_S, Plan, Verdict, trial
from tests.servers import Postgres


def main() -> int:
    """Run a trial; 1 when anything was wrong."""
    given = _options()
    seed = random.randrange(1, 100_000) if given.seed is None else given.seed
    print(f"seed {seed}, {given.minutes:g} minutes", flush=True)
    if given.launcher == "local":
        verdict = _local(Plan(given.minutes * 60, seed, watchers=given.watchers))
    else:
        verdict = cluster.kill(cluster.plan(given.minutes * 60, seed), given.node)
    print(verdict.table)
    for complaint in verdict.complaints[:50]:
        print(f"! {complaint}")
    return 1 if verdict.complaints else 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="scripts/killtest", description="Kills everything at random under load and counts what went wrong."
    )
    options.add_argument("--minutes", type=float, default=2.0)
    options.add_argument("--seed", type=int, default=None, help="decides what is done, and what runs do (default: a random one)")
    options.add_argument("--watchers", type=int, default=4, help="how many watch each run (local launcher; default: 4)")
    options.add_argument("--launcher", choices=["local", "kubernetes"], default="local")
    options.add_argument(
        "--node",
        metavar="FOLDER",
        default=os.environ.get("PODWIRE_TEST_NODE"),
        help="a test node's tools, to kill parts of the cluster as well (default: PODWIRE_TEST_NODE; without: only pods there)",
    )
    return options.parse_args()


def _local(plan: Plan) -> Verdict:
    postgres = Postgres(max_connections=300)
    postgres.start()
    podwire = Podwire(postgres, lease_s=LEASE_S, renew_s=1, max_active=10, max_active_per_owner=10)
    try:
        podwire.start()
        return trial(podwire, LocalGround(podwire.folder), Chaos(podwire, plan.seed, LEASE_S), plan)
    finally:
        podwire.stop()
        postgres.remove()


if __name__ == "__main__":
    sys.exit(main())
