"""Facts that come after the end: taken from the last news of a removed pod, once, and only where they were missing."""

from __future__ import annotations

import queue
from typing import Any

from app.domain.errors import StoreUnavailable
from app.launch.kubernetes.pods import late_evidence
from app.launch.kubernetes.pods.late_evidence import LateEvidence
from tests.contract.attempts import attempt

Json = dict[str, Any]
FACTS = {"node": "node1", "image": "i@sha256:aa"}


def pod(uid: str, image: str = "") -> Json:
    containers = [{"name": "run", "imageID": image}]
    return {"metadata": {"uid": uid}, "spec": {"nodeName": "node1"}, "status": {"containerStatuses": containers}}


class Told:
    """Keeps what is told; the first `failures` tries fail."""

    def __init__(self, *failures: Exception) -> None:
        self.box: queue.SimpleQueue[tuple[str, int, Json]] = queue.SimpleQueue()
        self._failures = list(failures)

    def __call__(self, run_id: str, number: int, facts: Json) -> None:
        if self._failures:
            raise self._failures.pop()
        self.box.put((run_id, number, facts))

    def next(self) -> tuple[str, int, Json]:
        return self.box.get(timeout=10)


def test_the_image_of_a_removed_pod_is_told_once() -> None:
    told = Told()
    comers, one, two = LateEvidence(told), attempt(1), attempt(2)
    comers.expect("u1", one, pod("u1"))
    comers.expect("u2", two, None)
    comers.see(pod("u1"), gone=False)
    comers.see(pod("other", "x@sha256:bb"), gone=True)
    for gone in (False, True):
        comers.see(pod("u1", FACTS["image"]), gone)
    comers.see(pod("u2", FACTS["image"]), gone=True)
    assert [told.next(), told.next()] == [(one.run_id, 1, FACTS), (two.run_id, 2, FACTS)]
    assert told.box.empty()


def test_what_came_just_before_the_removal_is_told_and_what_never_comes_is_not() -> None:
    told = Told()
    comers, known, last = LateEvidence(told), attempt(), attempt()
    comers.expect("known", known, pod("known", FACTS["image"]))
    comers.see(pod("known", FACTS["image"]), gone=True)
    assert told.next() == (known.run_id, 1, FACTS)
    comers.expect("never", attempt(), pod("never"))
    comers.see(pod("never"), gone=True)
    comers.see(pod("never", "i@sha256:aa"), gone=True)
    comers.expect("last", last, None)
    comers.see(pod("last", FACTS["image"]), gone=True)
    assert told.next() == (last.run_id, 1, FACTS) and told.box.empty()


def test_a_lost_database_and_a_fault_cost_that_fact_only() -> None:
    told = Told(StoreUnavailable(), RuntimeError("a bug"))
    comers, one = LateEvidence(told), attempt()
    for uid in ("u1", "u2", "u3"):
        comers.expect(uid, one, None)
        comers.see(pod(uid, FACTS["image"]), gone=True)
    assert told.next() == (one.run_id, 1, FACTS) and told.box.empty()


def test_what_is_expected_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(late_evidence, "MAX_EXPECTED", 2)
    told = Told()
    comers, attempts = LateEvidence(told), [attempt() for _ in range(3)]
    for number, each in enumerate(attempts):
        comers.expect(f"u{number}", each, None)
    for number in range(3):
        comers.see(pod(f"u{number}", FACTS["image"]), gone=True)
    assert [told.next()[0], told.next()[0]] == [each.run_id for each in attempts[1:]]
