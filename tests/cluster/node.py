"""The tools of a test node (the folder that PODWIRE_TEST_NODE names): take parts of the cluster away, and put everything back.

`up --nodes N` starts nodes and prints an `export KUBECONFIG=…`; `part kill|start NAME` ends and starts one of its daemons,
`part cut|heal node2` takes the second node's network away and gives it back.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

PARTS = ("etcd", "apiserver", "containerd", "kubelet")
SECOND = "node2"
WITHIN_S = 60.0


class TestNode:
    """Remembers what is away, so that `restore` brings it back whatever happened. Thread-safe."""

    __test__ = False

    def __init__(self, folder: str) -> None:
        """Contact nothing yet."""
        self._folder = Path(folder)
        self._lock = threading.Lock()
        self._away: set[str] = set()
        self._cut = False

    def up(self, nodes: int) -> str:
        """Start so many nodes unless they run; return the path of the kubeconfig."""
        words = ["bash", "-c", 'eval "$("$1"/up --nodes "$2")" && printf %s "$KUBECONFIG"', "up", str(self._folder), str(nodes)]
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout

    def kill(self, part: str) -> None:
        """End a daemon at once; pods run on."""
        with self._lock:
            self._away.add(part)
        self._part("kill", part)

    def start(self, part: str) -> None:
        """Start a daemon again."""
        self._part("start", part)
        with self._lock:
            self._away.discard(part)

    def cut(self) -> None:
        """Take the second node's network away; its pods run on unseen."""
        with self._lock:
            self._cut = True
        self._part("cut", SECOND)

    def heal(self) -> None:
        """Give the second node's network back."""
        self._part("heal", SECOND)
        with self._lock:
            self._cut = False

    def restore(self, healthy: Callable[[], bool]) -> None:
        """Bring back all that is away, and wait until `healthy`. Raises: TimeoutError."""
        with self._lock:
            away, cut = list(self._away), self._cut
        for part in away:
            self.start(part)
        if cut:
            self.heal()
        until = time.monotonic() + WITHIN_S
        while not healthy():
            if time.monotonic() > until:
                raise TimeoutError(f"the cluster is not healthy {WITHIN_S:g} s after everything came back")
            time.sleep(0.5)

    def _part(self, action: str, name: str) -> None:
        subprocess.run(
            [self._folder / "part", action, name], check=True, timeout=60, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
