"""What a pod's status and its events tell about where and when the attempt ran. Pure: what the API gives in, evidence out.

The names are those of domain.evidence. The cluster tells whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

Json = dict[str, Any]
_OF_PROGRAM = "spec.containers{run}"


def evidence_of(pod: Json) -> Json:
    """Return what is known by now: node, image (as the node resolved it), created, scheduled."""
    status = pod.get("status") or {}
    conditions = [each for each in status.get("conditions") or [] if each.get("type") == "PodScheduled"]
    placed = [each.get("lastTransitionTime") for each in conditions if each.get("status") == "True"]
    images = [each.get("imageID") for each in status.get("containerStatuses") or [] if each.get("name") == "run"]
    found = {
        "node": (pod.get("spec") or {}).get("nodeName"),
        "image": str(images[0]).removeprefix("docker-pullable://") if images and images[0] else None,
        "created": seconds((pod.get("metadata") or {}).get("creationTimestamp")),
        "scheduled": seconds(placed[0]) if placed else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def pulling(events: Iterable[Json]) -> tuple[bool, float | None]:
    """Say whether the program's image is being pulled, and when it was there; None while it is not, or nobody told."""
    begun, there = False, None
    for event in events:
        if (event.get("involvedObject") or {}).get("fieldPath") == _OF_PROGRAM:
            begun = begun or event.get("reason") == "Pulling"
            if event.get("reason") == "Pulled":
                there = seconds(event.get("eventTime") or event.get("firstTimestamp") or event.get("lastTimestamp"))
    return begun and there is None, there


def seconds(timestamp: object) -> float | None:
    """Return a time of the API in seconds since the epoch; None for what is none."""
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp() if timestamp else None
    except ValueError:
        return None
