"""What is done to the cluster under a running service: its parts are killed and started again, its second node is cut off."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from tests.cluster.node import PARTS, SECOND, TestNode
from tests.integration.cluster import Podwire
from tests.kill.chaos import Action, Chaos

AWAY_S, SHORTLY_S, LONG_S = (0.5, 8.0), (2.0, 10.0), (30.0, 45.0)
LONG_SHARE = 0.25
GIVEN_UP_S = 20.0
WELL_WITHIN_S = 60.0


class ClusterChaos(Chaos):
    """Beside all else kills one part of the cluster at a time, and cuts the second node off: shortly, or until it is given up."""

    def __init__(self, podwire: Podwire, seed: int, lease_s: float, node: TestNode, api: KubeApi) -> None:
        """`api` asks whether the cluster is well again."""
        super().__init__(podwire, seed, lease_s)
        self._node, self._api = node, api
        self._doing: set[str] = set()
        self._longest_cut_s = 0.0

    def actions(self) -> list[Action]:
        """Return what may be done, each with its weight."""
        return [*super().actions(), (self._kill_some_part, 4), (self._cut_second_node, 2)]

    def may_be_lost(self, node: str) -> bool:
        """Say whether the node was away for so long that its pods may have been given up."""
        return node == SECOND and self._longest_cut_s > GIVEN_UP_S

    def _kill_some_part(self) -> None:
        part, away_s = self._random.choice(PARTS), self._random.uniform(*AWAY_S)
        self._meanwhile("part", lambda: self._take_away(part, away_s))

    def _cut_second_node(self) -> None:
        long = self._random.random() < LONG_SHARE
        away_s = self._random.uniform(*(LONG_S if long else SHORTLY_S))
        self._meanwhile("cut", lambda: self._cut("for long" if long else "shortly", away_s))

    def _meanwhile(self, kind: str, work: Callable[[], None]) -> None:
        """Do it in a thread, unless something of the kind is being done."""
        with self._lock:
            if kind in self._doing:
                return
            self._doing.add(kind)
        self.begin(lambda: self._alone(kind, work))

    def _alone(self, kind: str, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._doing.discard(kind)

    def _take_away(self, part: str, away_s: float) -> None:
        self._count(f"SIGKILL {part}")
        self._node.kill(part)
        time.sleep(away_s)
        self._node.start(part)
        self._await("node1")

    def _cut(self, how: str, away_s: float) -> None:
        self._count(f"node cut off {how}")
        began = time.monotonic()
        self._node.cut()
        time.sleep(away_s)
        self._node.heal()
        self._longest_cut_s = max(self._longest_cut_s, time.monotonic() - began)
        self._await(SECOND)

    def _await(self, name: str) -> None:
        until = time.monotonic() + WELL_WITHIN_S
        while not ready(self._api, name):
            if time.monotonic() > until:
                return self.faults.append(f"{name} was not well again within {WELL_WITHIN_S:g} s")
            time.sleep(0.5)


def ready(api: KubeApi, *names: str) -> bool:
    """Say whether the nodes are there and ready."""
    with suppress(ApiFailure):
        nodes = [api.call("GET", f"/api/v1/nodes/{name}") for name in names]
        conditions = [one for node in nodes for one in node["status"]["conditions"] if one["type"] == "Ready"]
        return all(one["status"] == "True" for one in conditions)
    return False
