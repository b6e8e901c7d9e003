"""The command line of the proof of a rolling upgrade; `scripts/upgradetest` starts it."""

from __future__ import annotations

import argparse
import random
import sys

from app.launch.kubernetes.api.kube_api import KubeApi
from tests.cluster.installation import IMAGE, PREVIOUS_IMAGE
from tests.upgrade.release import Release
from tests.upgrade.trial import Doings, Load, prove


def main() -> int:
    """Install, test, prove, remove; 1 when anything was wrong."""
    given = _options()
    load = Load(random.randrange(1, 100_000) if given.seed is None else given.seed, at_once=given.runs)
    release = Release(given.image, given.values, given.set)
    print(f"seed {load.seed}, namespace {release.namespace}", flush=True)
    try:
        release.install()
        print(release.test() if given.test else "", flush=True)
        doings = Doings(release, given.to)
        chosen = doings.short() if given.short else doings.all(given.drain)
        verdict = prove(release, KubeApi(), given.url or release.url(), chosen, load)
        print(verdict.table)
        for complaint in verdict.complaints[:50]:
            print(f"! {complaint}")
        if verdict.complaints:
            print(release.state())
        return 1 if verdict.complaints else 0
    finally:
        if not given.keep:
            release.remove()


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="scripts/upgradetest",
        description="Installs the chart, upgrades and disturbs it under load, counts what went wrong, and removes it.",
    )
    options.add_argument("--image", default=PREVIOUS_IMAGE, metavar="NAME:TAG", help=f"an image (default: {PREVIOUS_IMAGE})")
    to = IMAGE.rpartition(":")[2]
    options.add_argument("--to", default=to, metavar="TAG", help=f"the tag to upgrade to and come back from (default: {to})")
    options.add_argument("-f", "--values", action="append", default=[], metavar="FILE", help="further values of the chart")
    options.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a further value")
    options.add_argument("--url", help="where this machine reaches the Service (default: its ClusterIP, as a node does)")
    options.add_argument("--drain", action="store_true", help="drain a node as well, with everything that is on it, also others'")
    options.add_argument("--short", action="store_true", help="one upgrade and one deleted web pod only")
    options.add_argument("--runs", type=int, default=6, help="how many runs at once (default: 6)")
    options.add_argument("--seed", type=int, help="decides what runs do (default: a random one)")
    options.add_argument("--no-test", dest="test", action="store_false", help="leave `helm test` out")
    options.add_argument("--keep", action="store_true", help="leave the release there")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
