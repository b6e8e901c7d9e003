"""A cluster made of answers: what an examination asks for is looked up here; and a launcher that plays what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.agent.records.wire_format import Kind
from app.domain.errors import PodwireError
from app.domain.ports import Attempt, Record
from app.launch.kubernetes.api.kube_errors import ApiFailure
from app.launch.kubernetes.checks.check_result import CheckResult
from app.launch.kubernetes.checks.cluster_checks import CheckedCluster
from app.launch.kubernetes.pods.manifest import Shape

Json = dict[str, Any]
SHAPE = Shape(
    "runs", "podwire:1", languages={"python": ("python3",)}, images={"python": "python:3.12"}, default_image="debian:12"
)
SPACE = "/api/v1/namespaces/runs"


def forbidden(what: str) -> ApiFailure:
    return ApiFailure(403, "Forbidden", f'{what} is forbidden: User "u" cannot list resource "{what}" in API group ""')


class Cluster:
    """Everything is well unless `answers` says otherwise, by method and path; `denied` names what may not be done."""

    server = "https://cluster:6443"

    def __init__(self, answers: Mapping[str, Json | ApiFailure] | None = None, denied: tuple[str, ...] = ()) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self._answers: dict[str, Json | ApiFailure] = {
            "GET /version": {"gitVersion": "v1.34.1"},
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews": {"status": {"userInfo": {"username": "podwire"}}},
            f"GET {SPACE}": {"metadata": {"labels": labels}, "status": {"phase": "Active"}},
            **(answers or {}),
        }
        self._denied = denied
        self.dry: list[Json] = []

    def call(self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None) -> Json:
        answer = self._answers.get(f"{method} {path}", {})
        if isinstance(answer, ApiFailure):
            raise answer
        if path.endswith("selfsubjectaccessreviews"):
            asked = (body or {})["spec"]["resourceAttributes"]
            words = f"{asked['verb']} {asked['resource']}" + (f"/{asked['subresource']}" if asked["subresource"] else "")
            return {"status": {"allowed": asked["namespace"] == "runs" and words not in self._denied}}
        if query == {"dryRun": "All"}:
            self.dry.append(body or {})
        return answer


class Launcher:
    """Plays what a launcher would: each launch takes the next of `plays`; an error is raised, records are read."""

    def __init__(self, *plays: PodwireError | list[tuple[Kind, bytes]]) -> None:
        self._plays = list(plays)
        self.shapes: list[Shape] = []
        self.launched: list[Attempt] = []
        self.removed: list[Attempt] = []
        self._records: list[tuple[Kind, bytes]] = []

    def made(self, api: object, shape: Shape) -> Launcher:
        self.shapes.append(shape)
        return self

    def launch(self, attempt: Attempt) -> str:
        self.launched.append(attempt)
        play = self._plays.pop(0) if self._plays else WORKS
        if isinstance(play, PodwireError):
            raise play
        self._records = play
        return "uid"

    def connect(self, attempt: Attempt, position: int) -> Launcher:
        return self

    def read(self, timeout_s: float) -> list[Record]:
        records, self._records = self._records, []
        return [Record(kind, 0.0, payload, 0) for kind, payload in records]

    def close(self) -> None:
        return None

    def remove(self, attempt: Attempt) -> None:
        self.removed.append(attempt)


WORKS = [(Kind.HEARTBEAT, b"{}"), (Kind.STARTED, b"{}"), (Kind.EXIT, b'{"exit_code": 0, "signal": null, "launch_error": null}')]


def patient(cluster: Cluster | ApiFailure, launcher: Launcher, shape: Shape = SHAPE, within_s: float = 5.0) -> CheckedCluster:
    """Return what `examine` takes; an ApiFailure stands for a cluster that cannot even be connected to."""

    def connect() -> Any:
        if isinstance(cluster, ApiFailure):
            raise cluster
        return cluster

    return CheckedCluster(connect, shape, launcher.made, within_s)  # type: ignore[arg-type]


def by_name(findings: list[CheckResult]) -> dict[str, CheckResult]:
    return {finding.name: finding for finding in findings}
