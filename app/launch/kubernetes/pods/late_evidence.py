"""Facts about an attempt that the cluster tells after its end: a kubelet names an image about a second after the container has
begun, and many programs are quicker. They are taken from the last news of the removed pod, and nobody waits for them.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from app.domain.errors import PodwireError
from app.domain.ports import Attempt
from app.launch.kubernetes.pods.pod_evidence import evidence_of

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Receiver = Callable[[str, int, Json], None]
MAX_EXPECTED = 2000


def ignore(run_id: str, attempt: int, evidence: Json) -> None:
    """Take evidence that nobody wants."""


class LateEvidence:
    """Removed pods whose image is not known yet. Thread-safe; lost with the process, and then there is one fact less."""

    def __init__(self, receiver: Receiver) -> None:
        """`receiver(run id, attempt, evidence)` is called in a thread of its own; it may take its time, and fail."""
        self._receiver = receiver
        self._lock = threading.Lock()
        self._expected: dict[str, Attempt] = {}
        self._found: queue.SimpleQueue[tuple[Attempt, Json]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def expect(self, uid: str, attempt: Attempt, pod: Json | None) -> None:
        """Look out for the image of a pod that is being removed.

        One that the watch knows is told as well: it may have come after the run's end was written, before this.
        """
        evidence = evidence_of(pod or {})
        with self._lock:
            if "image" in evidence:
                return self._pass_on(attempt, evidence)
            self._expected[uid] = attempt
            if len(self._expected) > MAX_EXPECTED:
                del self._expected[next(iter(self._expected))]

    def see(self, pod: Json, gone: bool) -> None:
        """Take news of any pod; `gone` when they are the last."""
        uid, evidence = str(pod["metadata"]["uid"]), evidence_of(pod)
        with self._lock:
            known = "image" in evidence
            attempt = self._expected.pop(uid, None) if known or gone else None
            if attempt is not None and known:
                self._pass_on(attempt, evidence)

    def _pass_on(self, attempt: Attempt, evidence: Json) -> None:
        self._found.put((attempt, evidence))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="late-evidence", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            attempt, evidence = self._found.get()
            try:
                self._receiver(attempt.run_id, attempt.number, evidence)
            except PodwireError as error:
                logger.info("run %s: late evidence is not kept: %s", attempt.run_id, error)
            except Exception:
                logger.exception("run %s: late evidence is not kept", attempt.run_id)
