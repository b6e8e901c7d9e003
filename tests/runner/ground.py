"""The cluster that tests run on, and the helm for those of the chart: which to take, and how to get it (scripts/test-node).

`PODWIRE_TEST_NODE` names the folder of a test node's tools (default ../shared/kube; empty: none is wanted). Without one, the
tests of the cluster alone may run on the cluster of KUBECONFIG, which must have the images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TOOLS = "../shared/kube"
NODE, KUBECONFIG = "PODWIRE_TEST_NODE", "KUBECONFIG"
# What scripts/test-node says of a node that it started, so that it takes down no other.
OURS = "PODWIRE_TEST_NODE_OURS"
READ = 'told=$("$0" "$1") || exit; eval "$told"; env -0'


@dataclass(frozen=True)
class Choice:
    """`folder` of a test node's tools, or the cluster of KUBECONFIG (`given`), or neither. `named` by whoever runs the tests."""

    folder: str = ""
    given: bool = False
    named: bool = False


def choose(environ: Mapping[str, str], everything: bool, tools_here: bool) -> Choice:
    """Say which cluster to take. Whoever names a test node never gets another cluster; nor does whoever runs everything."""
    named = bool(environ.get(NODE))
    given = bool(environ.get(KUBECONFIG)) and not everything
    if named:
        return Choice(environ[NODE], named=True)
    if NODE not in environ and tools_here and not given:
        return Choice(TOOLS)
    return Choice(given=given)


@dataclass
class Ground:
    """What became of a choice. `environment` is what tests on the cluster get; `absent` says why there is no cluster, and
    `broken` that this is a failure of a continuous integration.
    """

    choice: Choice
    environment: dict[str, str] = field(default_factory=lambda: {k: v for k, v in os.environ.items() if k != OURS})
    absent: str = ""
    broken: bool = False
    seconds: float = 0.0

    def prepare(self, log: Path) -> None:
        """Start the node unless it is up, with all images on it; a few minutes."""
        began = time.monotonic()
        if self.choice.folder:
            self._start(log)
        elif not self.choice.given:
            self.absent = "there is no test node here, and no cluster is named (KUBECONFIG)"
        self.seconds = time.monotonic() - began

    def possible(self) -> bool:
        """Say whether this machine can have the node; if not, `absent` says so."""
        if not self.choice.folder:
            return self.choice.given
        environment = {**os.environ, NODE: self.choice.folder}
        if subprocess.run(["scripts/test-node", "possible"], env=environment).returncode:
            self.absent, self.broken = f"this machine cannot run the node of {self.choice.folder}", self.choice.named
            return False
        return True

    def _start(self, log: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != KUBECONFIG}
        with log.open("w") as told:
            found = _read("start", {**environment, NODE: self.choice.folder}, told)
        if found is None:
            self.absent, self.broken = f"the test node did not start; {log} says why", True
        else:
            self.environment = found

    def leave(self) -> None:
        """Take the node down, if it was not up before."""
        if OURS in self.environment:
            subprocess.run(["scripts/test-node", "stop"], env=self.environment)
            self.environment.pop(OURS)


def with_helm(folder: str) -> tuple[dict[str, str], str, bool]:
    """Return an environment with helm on PATH; else why there is none, and whether that is a failure where nothing may lack."""
    if shutil.which("helm"):
        return dict(os.environ), "", False
    if not (Path(folder) / "kube.xz").exists():
        return {}, f"helm is not on PATH, and not in {folder}", False
    found = _read("tools", {**os.environ, NODE: folder}, None)
    return (found, "", False) if found is not None else ({}, f"the helm of {folder} cannot be used", True)


def _read(action: str, environment: Mapping[str, str], log: object) -> dict[str, str] | None:
    """Return the environment that scripts/test-node wants; None when it failed."""
    words = ["bash", "-c", READ, "scripts/test-node", action]
    done = subprocess.run(words, env=dict(environment), stdout=subprocess.PIPE, stderr=log)  # type: ignore[call-overload]
    if done.returncode:
        return None
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)
