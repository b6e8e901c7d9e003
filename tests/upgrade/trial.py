"""The proof of a rolling upgrade: load on one side, the operator's doings on the other, one after the other; then the table.

What may be done is in `Doings`; each returns once everything is as it should be again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.launch.kubernetes.api.kube_api import KubeApi
from app.launch.kubernetes.api.kube_errors import ApiFailure
from tests.cluster.observer import Observer
from tests.kill.ground import ClusterGround
from tests.kill.subjects import FAULTS as RUN_FAULTS
from tests.kill.subjects import Subject, Tally
from tests.kill.trial import LEFT, Verdict, wait_for_ends
from tests.upgrade.load import FAULTS as REQUEST_FAULTS
from tests.upgrade.load import CountingClient, Probe, count_streams
from tests.upgrade.release import Broken, Release

# Not done is a fault as well: a table of zeros over nothing would say nothing.
UNDONE = "not done"
DRAIN_WITHIN_S = 240.0
Doing = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Load:
    """How much of it: how many runs at once, how long their steps take on average, how many watch each, how often somebody asks,
    how long it goes on before, between and after the doings, and how long the last runs may take.
    """

    seed: int
    at_once: int = 6
    pace_s: float = 0.12
    watchers: int = 4
    probe_every_s: float = 0.05
    rest_s: float = 8.0
    end_within_s: float = 120.0


class Doings:
    """What an operator does to a release, by name."""

    def __init__(self, release: Release, other_tag: str) -> None:
        """`other_tag` is the version to upgrade to."""
        self._release, self._tag, self._other_tag = release, release.tag, other_tag

    def short(self) -> list[Doing]:
        """Return what every test does: one upgrade, one web pod deleted."""
        return [self._there(), self._deleted("web")]

    def all(self, drain: bool) -> list[Doing]:
        """Return everything, with the drain of a node where that is wanted."""
        middle = [self._deleted("worker"), self._deleted("web"), self._deleted("dev-redis")]
        drained: list[Doing] = [("node drained", self._drain)] if drain else []
        return [self._there(), *middle, *drained, ("upgrade back", lambda: self._release.upgrade(self._tag))]

    def _there(self) -> Doing:
        return ("upgrade", lambda: self._release.upgrade(self._other_tag))

    def _deleted(self, component: str) -> Doing:
        return (f"{component} pod deleted", lambda: self._delete(component))

    def _delete(self, component: str) -> None:
        self._release.delete_pod(component)
        # A Deployment counts a pod as there until it has begun to go.
        time.sleep(1)
        self._release.settle()

    def _drain(self) -> None:
        """Empty a node that has web pods or workers, but not the database that keeps nothing."""
        busy = self._release.nodes_of("web") | self._release.nodes_of("worker")
        free = sorted(busy - self._release.nodes_of("dev-postgres"))
        if not free:
            raise Broken("every node with a pod of the release has the development database on it, which a drain would empty")
        try:
            self._release.drain(free[0], DRAIN_WITHIN_S)
            self._release.settle()
        finally:
            self._release.uncordon(free[0])


def prove(release: Release, api: KubeApi, url: str, doings: Sequence[Doing], load: Load) -> Verdict:
    """Keep runs, watchers, answers and questions coming while all is done; wait for all ends; judge."""
    tally, subjects, token = Tally(), list[Subject](), release.token()
    observer = Observer(api, release.runs)
    observer.start()
    ground = ClusterGround(observer, lambda node: False, lambda: _pods(api, release.runs))
    client = CountingClient(url, token, tally)
    probe = Probe(client, load.probe_every_s)
    probe.start()
    operator = threading.Thread(target=_operate, args=(doings, load.rest_s, tally), daemon=True)
    operator.start()
    try:
        _submit(operator, subjects, lambda number: Subject(client, number, ground, tally, load.pace_s, load.watchers), load)
        wait_for_ends(subjects, time.monotonic() + load.end_within_s)
        probe.stop.set()
        for subject in subjects:
            subject.give_up.clear()
            subject.judge()
            count_streams(subject, tally)
        for left in ground.leftovers():
            tally.complain(LEFT, left)
    finally:
        probe.stop.set()
        observer.end()
    return Verdict(_table(tally, ground, len(subjects), load), tally.complaints)


def _submit(operator: threading.Thread, subjects: list[Subject], make: Callable[[int], Subject], load: Load) -> None:
    numbers = iter(range(load.seed * 10_000, load.seed * 10_000 + 10_000))
    while operator.is_alive():
        if sum(one.final is None for one in subjects) < load.at_once:
            subjects.append(make(next(numbers)))
            subjects[-1].start()
        time.sleep(0.1)


def _operate(doings: Sequence[Doing], rest_s: float, tally: Tally) -> None:
    time.sleep(rest_s)
    for name, work in doings:
        begun = time.monotonic()
        try:
            work()
        except Exception as error:
            tally.complain(UNDONE, f"{name}: {error}")
        tally.add(f"done: {name}, seconds", round(time.monotonic() - begun))
        print(f"{time.strftime('%H:%M:%S', time.gmtime())} {name}: {time.monotonic() - begun:.0f} s", flush=True)
        time.sleep(rest_s)


def _pods(api: KubeApi, namespace: str) -> list[str]:
    try:
        return [pod["metadata"]["name"] for pod in api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]]
    except ApiFailure as failure:
        return [str(failure)]


def _table(tally: Tally, ground: ClusterGround, runs: int, load: Load) -> str:
    faults = [*REQUEST_FAULTS, *RUN_FAULTS, ground.second, LEFT, UNDONE]
    rows: list[tuple[str, object]] = [("seed", load.seed), ("runs", runs)]
    rows += sorted((name, count) for name, count in tally.counts.items() if name not in faults)
    rows += sorted(ground.counts().items())
    rows += [(f"FAULT {name}", tally.counts[name]) for name in faults]
    return "\n".join(f"{name:<40}{value:>12}" for name, value in rows)
