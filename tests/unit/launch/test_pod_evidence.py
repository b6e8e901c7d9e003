"""What a pod's status and events tell about where and when: as a real cluster writes them, early, late and never."""

from __future__ import annotations

from typing import Any

import pytest

from app.launch.kubernetes.pods.pod_evidence import evidence_of, pulling, seconds

DIGEST = "docker.io/library/python@sha256:" + "ab" * 32
AT = "2026-11-21T13:00:0{}Z"
T0 = 1795266000.0


def pod(**parts: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"metadata": {"creationTimestamp": AT.format(0)}, "spec": {}, "status": {}}
    return made | parts


def test_a_pod_tells_more_and_more() -> None:
    assert evidence_of({}) == {}
    assert evidence_of(pod()) == {"created": T0}
    unplaced = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": AT.format(0)}]
    assert evidence_of(pod(status={"conditions": unplaced})) == {"created": T0}
    placed = [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True", "lastTransitionTime": AT.format(1)}]
    waiting = [{"name": "agent", "imageID": "localhost/podwire@sha256:cc"}, {"name": "run", "imageID": ""}]
    early = pod(spec={"nodeName": "node1"}, status={"conditions": placed, "containerStatuses": waiting})
    assert evidence_of(early) == {"created": T0, "scheduled": T0 + 1, "node": "node1"}
    for image in (DIGEST, f"docker-pullable://{DIGEST}"):
        containers = [{"name": "run", "imageID": image}, waiting[0]]
        late = pod(spec={"nodeName": "node1"}, status={"conditions": placed, "containerStatuses": containers})
        assert evidence_of(late) == {"created": T0, "scheduled": T0 + 1, "node": "node1", "image": DIGEST}


def event(reason: str, container: str = "run", **times: str | None) -> dict[str, Any]:
    return {"reason": reason, "involvedObject": {"fieldPath": f"spec.containers{{{container}}}"}, **times}


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([], (False, None)),
        ([event("Pulling", firstTimestamp=AT.format(1))], (True, None)),
        ([event("Pulling"), event("Pulled", eventTime=None, firstTimestamp=AT.format(3))], (False, T0 + 3)),
        ([event("Pulled", eventTime="2026-11-21T13:00:02.500000Z")], (False, T0 + 2.5)),
        ([event("Pulling", "agent"), event("Pulled", "agent", firstTimestamp=AT.format(3))], (False, None)),
        ([{"reason": "Scheduled"}], (False, None)),
    ],
)
def test_when_the_image_of_the_program_was_there(events: list[dict[str, Any]], wanted: tuple[bool, float | None]) -> None:
    assert pulling(events) == wanted


def test_what_is_no_time_is_none() -> None:
    assert [seconds(each) for each in (None, "", "soon", 5)] == [None] * 4
