"""Where the runs of a kill test run, as somebody beside it sees them: how often each was started, and what it was told.

The local ground reads what programs noted in a folder. The cluster's notes nothing from inside (pods share no folder with the
test): there an observer counts pods, and what the programs were told is part of what they write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tests.cluster.observer import Observer
from tests.kill.program import NO_NOTES

GONE_WITHIN_S = 60.0


class Ground(Protocol):
    """What the judgement of a run needs beside what clients see."""

    notes: str
    second: str
    resources: Mapping[str, object]

    def starts(self, run_id: str) -> list[str]:
        """Return something for each time that the run was started; one is right."""

    def answers(self, run_id: str) -> list[list[str]] | None:
        """Return the place and the value of each answer that the program noted; None where programs note nothing."""

    def lost(self, final: Mapping[str, Any]) -> bool:
        """Say whether the run may have ended like this because its machine was taken away for too long."""

    def leftovers(self) -> list[str]:
        """Return what is still there a while after every run has ended."""

    def counts(self) -> Mapping[str, int]:
        """Return what else was counted."""


class LocalGround:
    """The machine of the test."""

    second = "doubled attempts"
    resources: Mapping[str, object] = {}

    def __init__(self, folder: Path) -> None:
        """Programs note what happens to them in the folder."""
        self.notes = str(folder)

    def starts(self, run_id: str) -> list[str]:
        """Return the attempts that programs noted at their start."""
        return [words[1] for words in self._noted("starts") if words[0] == run_id]

    def answers(self, run_id: str) -> list[list[str]]:
        """Return what programs noted of their answers."""
        return [words[1:] for words in self._noted("answers") if words[0] == run_id]

    def lost(self, final: Mapping[str, Any]) -> bool:
        """The machine is never taken away."""
        return False

    def leftovers(self) -> list[str]:
        """Leave that to the tests of the launcher."""
        return []

    def counts(self) -> Mapping[str, int]:
        """Return nothing."""
        return {}

    def _noted(self, name: str) -> list[list[str]]:
        path = Path(self.notes) / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


class ClusterGround:
    """The pods of a namespace."""

    notes = NO_NOTES
    second = "second pods"
    resources: Mapping[str, object] = {"cpu": 0.1, "memory": "64Mi"}

    def __init__(self, observer: Observer, cut_off: Callable[[str], bool], pods: Callable[[], list[str]]) -> None:
        """`cut_off` says of a node whether it was away for so long that it may have been given up; `pods` names what is there."""
        self._observer, self._cut_off, self._pods = observer, cut_off, pods

    def starts(self, run_id: str) -> list[str]:
        """Return the uids of the pods that an attempt of the run had: of the one that had most."""
        return max((sorted(uids) for (run, _), uids in list(self._observer.uids.items()) if run == run_id), key=len, default=[])

    def answers(self, run_id: str) -> list[list[str]] | None:
        """Return nothing: programs write what they were told, and their bytes are compared."""
        return None

    def lost(self, final: Mapping[str, Any]) -> bool:
        """Say whether the run's node was away for so long."""
        reason = (final.get("outcome") or {}).get("reason")
        return reason == "NodeLost" and any(self._cut_off(node) for node in self._observer.nodes[str(final["id"])])

    def leftovers(self) -> list[str]:
        """Return the pods that nobody removes."""
        until = time.monotonic() + GONE_WITHIN_S
        while (left := self._pods()) and time.monotonic() < until:
            time.sleep(0.5)
        return left

    def counts(self) -> Mapping[str, int]:
        """Return what the observer saw, and how often its watch broke."""
        attempts = list(self._observer.uids)
        later = sum(number != "1" for _, number in attempts)
        return {
            "pods: attempts observed": len(attempts),
            "pods: second attempts": later,
            "pods: watch broke": self._observer.breaks,
        }
