"""A release of the chart on a real cluster: installed, upgraded, disturbed and removed with helm and kubectl.

It knows the chart's names and nothing of the load (load.py) or of what is right (trial.py).
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.conftest import RESTRICTED, RUN_IMAGE

CHART = Path(__file__).resolve().parents[2] / "helm"
NAME = "podwire"
WITHIN_S = 300
# What every trial gets, whatever else is asked for: two of each, and time for a proxy to learn that a pod leaves.
VALUES: dict[str, Any] = {
    "app": {"replicaCount": 2, "preStopDelaySeconds": 8},
    "worker": {"replicaCount": 2},
    "runs": {"images": {"python": RUN_IMAGE, "bash": RUN_IMAGE}},
    "dev": {"enabled": True},
}


class Broken(Exception):
    """A command of helm or kubectl failed; its words and what it said."""


class Release:
    """A release in a namespace of its own, whose pods must be restricted. Made by `install`, gone after `remove`."""

    def __init__(self, image: str, files: Sequence[str] = (), settings: Sequence[str] = ()) -> None:
        """`image` is Podwire's, `NAME:TAG`. `files` and `settings` are further values, as for helm's -f and --set."""
        self.repository, _, self.tag = image.rpartition(":")
        self.namespace = f"podwire-release-{uuid.uuid4().hex[:6]}"
        self._more = [word for file in files for word in ("-f", file)] + [word for pair in settings for word in ("--set", pair)]

    @property
    def runs(self) -> str:
        """The namespace of the runs' pods."""
        return f"{self.namespace}-runs"

    # --- helm

    def install(self) -> None:
        """Install and wait until all is ready. Raises: Broken with what the pods say."""
        labels = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": RESTRICTED}}
        self._call(["kubectl", "create", "-f", "-"], json.dumps(labels))
        self._helm("install")

    def upgrade(self, tag: str) -> None:
        """Go to another version of the image and wait until all is ready. Raises: Broken."""
        self.tag = tag
        self._helm("upgrade")

    def test(self) -> str:
        """Run `helm test` and return what its pod wrote. Raises: Broken, with the same."""
        return self._call(["helm", "test", NAME, "-n", self.namespace, "--logs", "--timeout", f"{WITHIN_S}s"])

    def _helm(self, action: str) -> None:
        values = {**VALUES, "image": {"repository": self.repository, "tag": self.tag}}
        words = ["helm", action, NAME, str(CHART), "-n", self.namespace, "-f", "-", *self._more]
        try:
            self._call([*words, "--wait", "--timeout", f"{WITHIN_S}s"], json.dumps(values))
        except Broken as broken:
            raise Broken(f"{broken}\n{self.state()}") from None

    def remove(self) -> None:
        """Take everything away again."""
        self._call(["helm", "uninstall", NAME, "-n", self.namespace, "--ignore-not-found", "--wait", "--timeout", "180s"])
        self._call(["kubectl", "delete", "namespace", self.namespace, self.runs, "--ignore-not-found", "--wait=false"])

    # --- what is there

    def url(self, component: str = "") -> str:
        """Return the address within the cluster of Podwire's Service, or of the component's: any replica, without affinity."""
        spec = self._get("service", f"{NAME}-{component}" if component else NAME)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def token(self) -> str:
        """Make a user with a token and return it."""
        user = f"upgrade-{uuid.uuid4().hex[:6]}"
        for words in (["user", "create", user], ["token", "create", "test", "--user", user]):
            told = self._kubectl("exec", f"deploy/{NAME}-web", "-c", "web", "--", "podwire", *words)
        return told.strip()

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return the living pods of web, worker, dev-redis or dev-postgres that are not being deleted."""
        listed = self._get("pods", "-l", f"app.kubernetes.io/component={component}")["items"]
        return [one for one in listed if not one["metadata"].get("deletionTimestamp") and one["status"]["phase"] == "Running"]

    def nodes_of(self, component: str) -> set[str]:
        """Return the nodes that the component's pods are on."""
        return {str(pod["spec"]["nodeName"]) for pod in self.pods(component)}

    def images_of(self, component: str) -> set[str]:
        """Return the images that the component's pods run, by their content."""
        return {str(each["imageID"]) for pod in self.pods(component) for each in pod["status"]["containerStatuses"]}

    def settle(self) -> None:
        """Wait until every Deployment has what it wants."""
        for kind in ("web", "worker", "dev-redis", "dev-postgres"):
            self._kubectl("rollout", "status", f"deployment/{NAME}-{kind}", f"--timeout={WITHIN_S}s")

    def state(self) -> str:
        """Return what the pods are and say, for a report."""
        told = [self._quiet("get", "pods", "-o", "wide"), self._quiet("get", "events", "--sort-by=.lastTimestamp")]
        for component in ("migrations", "web", "worker", "selftest", "dev-postgres"):
            told.append(self._quiet("logs", "-l", f"app.kubernetes.io/component={component}", "--all-containers", "--tail=15"))
        return "\n".join(told)

    # --- what is done to it

    def delete_pod(self, component: str) -> str:
        """Delete one pod of the component, as anybody may, and return its name at once."""
        name = str(self.pods(component)[0]["metadata"]["name"])
        self._kubectl("delete", "pod", name, "--wait=false")
        return name

    def drain(self, node: str, within_s: float) -> None:
        """Empty a node, as its administrator does: runs have no controller, which is what --force is about. Raises: Broken."""
        words = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={within_s:g}s"]
        self._call(["kubectl", "drain", node, *words], timeout_s=within_s + 30)

    def uncordon(self, node: str) -> None:
        """Let pods onto the node again."""
        self._call(["kubectl", "uncordon", node])

    def _get(self, *words: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self._kubectl("get", *words, "-o", "json"))
        return found

    def _kubectl(self, *words: str) -> str:
        return self._call(["kubectl", "-n", self.namespace, *words])

    def _quiet(self, *words: str) -> str:
        try:
            return self._kubectl(*words)
        except Broken as broken:
            return str(broken)

    def _call(self, words: list[str], text: str = "", timeout_s: float = WITHIN_S + 30) -> str:
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode:
            raise Broken(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout
