"""Every setting of Podwire, read once from the environment.

The only module that reads `PODWIRE_*`; nothing here opens a connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from app.domain.errors import SettingsError
from app.domain.queue.admission import Limits
from app.domain.runs.artefacts import ArtefactRules
from app.domain.runs.images import ImageRules
from app.domain.runs.retry import MOST_ATTEMPTS, Retries
from app.domain.runs.run import Priority
from app.domain.runs.spec import SpecLimits

PREFIX = "PODWIRE_"
_LANGUAGES = {"python": ["python3", "-u"], "bash": ["bash"], "node": ["node"]}


@dataclass(frozen=True)
class Settings:
    """All settings; each is read from `PODWIRE_` and its name in capitals. Times in seconds, sizes in bytes."""

    database_url: str = field(metadata={"secret": True, "doc": "SQLAlchemy URL: postgresql+psycopg://… or sqlite:///…"})
    redis_url: str = field(metadata={"secret": True, "doc": "redis://… of the broker and the live log"})
    secret_key: str = field(metadata={"secret": True, "doc": "at least 32 characters; signs browser sessions"})
    state_dir: str = field(default="var", metadata={"doc": "folder of the local launcher and of embedded servers"})
    launcher: str = field(default="local", metadata={"doc": "where attempts run: local or kubernetes"})
    bind: str = field(default="127.0.0.1:8080", metadata={"doc": "address of the web server"})
    public_url: str = field(
        default="", metadata={"doc": "address at which people reach this service; empty = what they asked for"}
    )
    web_processes: int = field(default=2, metadata={"doc": "gunicorn worker processes"})
    max_sockets: int = field(default=10_000, metadata={"doc": "open streams per web process"})
    max_sockets_per_user: int = field(default=2_000, metadata={"doc": "open streams of one user per web process"})
    drain_s: float = field(default=5.0, metadata={"doc": "window over which streams are closed at shutdown"})
    worker_concurrency: int = field(default=64, metadata={"doc": "runs that one worker process supervises at once"})
    max_active: int = field(default=20, metadata={"doc": "runs that may be active at once, over all owners"})
    max_active_per_owner: int = field(default=10, metadata={"doc": "runs of one owner that may be active at once"})
    max_pending_per_owner: int = field(default=1_000, metadata={"doc": "runs of one owner that are queued, active or waiting"})
    max_queue: int = field(default=10_000, metadata={"doc": "runs in the queue, over all owners"})
    ageing_s: float = field(default=1800.0, metadata={"doc": "waiting this long makes a run's priority one better; 0 = never"})
    max_priority: str = field(default="critical", metadata={"doc": "highest priority that those may use who are not admins"})
    max_questions: int = field(default=100, metadata={"doc": "questions that one run may ask"})
    max_attempts: int = field(
        default=3, metadata={"doc": "attempts of a run that fails before its code began, the first one included"}
    )
    retry_backoff_s: float = field(
        default=5.0, metadata={"doc": "wait before the second attempt; twice as long before each further one"}
    )
    launch_within_s: float = field(
        default=120.0, metadata={"doc": "how long one attempt's launch is tried while the launcher cannot be used"}
    )
    keep_runs_s: float = field(
        default=0.0,
        metadata={"doc": "how long runs are kept after their end, with output, questions and artefacts; 0 = for ever"},
    )
    max_request_bytes: int = field(default=16 * 1024 * 1024, metadata={"doc": "largest accepted request body"})
    max_cpu: float = field(default=4.0, metadata={"doc": "largest cpu of a run, in cores"})
    max_memory_bytes: int = field(default=4 * 1024**3, metadata={"doc": "largest memory of a run"})
    max_timeout_s: float = field(default=7 * 86400.0, metadata={"doc": "longest timeout of a run"})
    languages: str = field(
        default=json.dumps(_LANGUAGES), metadata={"doc": "JSON: language -> command that a script's path is appended to"}
    )
    lease_s: float = field(default=20.0, metadata={"doc": "how long a supervisor's lease lasts without renewal"})
    renew_s: float = field(default=5.0, metadata={"doc": "how often leases are renewed"})
    tick_s: float = field(default=2.0, metadata={"doc": "how often dispatch, reconcile and expiry run"})
    alive_file: str = field(
        default="", metadata={"doc": "file that a worker touches while it reads the queue, for liveness probes; empty = none"}
    )
    log_ttl_s: int = field(default=3600, metadata={"doc": "how long Redis keeps a run's live log after its last event"})
    keep_removed_s: float = field(default=86400.0, metadata={"doc": "how long the local launcher remembers removed attempts"})
    kube_namespace: str = field(default="", metadata={"doc": "Kubernetes namespace that runs have to themselves"})
    kube_instance: str = field(default="podwire", metadata={"doc": "tells this installation's pods from another's, as a label"})
    kube_agent_image: str = field(default="", metadata={"doc": "Podwire's own image, for the agent in every run's pod"})
    kube_images: str = field(default="{}", metadata={"doc": "JSON: language -> image that its scripts run in"})
    kube_default_image: str = field(default="", metadata={"doc": "image of a run that names none; empty = it must name one"})
    kube_allowed_images: str = field(
        default="[]", metadata={"doc": "JSON list of patterns (* and ?) of the images that runs may name"}
    )
    kube_pull_secrets: str = field(default="[]", metadata={"doc": "JSON list of the Secrets that images are pulled with"})
    kube_runtime_class: str = field(default="", metadata={"doc": "RuntimeClass of runs"})
    kube_node_selector: str = field(default="{}", metadata={"doc": "JSON: node label -> value that runs need"})
    kube_tolerations: str = field(default="[]", metadata={"doc": "JSON list of the tolerations of runs"})
    kube_lost_node_s: int = field(
        default=300, metadata={"doc": "how long a run is kept whose node the cluster finds unreachable"}
    )
    kube_pids_limit: int = field(
        default=0, metadata={"doc": "the podPidsLimit of the nodes, told to programs as PODWIRE_PIDS; 0 = what they can see"}
    )
    kube_priority_class: str = field(default="", metadata={"doc": "PriorityClass of runs"})
    kube_service_account: str = field(default="", metadata={"doc": "ServiceAccount of runs; its token is never mounted"})
    kube_user_id: int = field(default=1000, metadata={"doc": "user and group id of the processes in runs' pods"})
    kube_keep_failed_s: float = field(
        default=0.0, metadata={"doc": "how long the ended pod of a failed run is kept for inspection; 0 = it is removed at once"}
    )
    workspaces_dir: str = field(
        default="",
        metadata={"doc": "folder, shared by workers and web processes, where runs' artefacts are kept; empty = none are"},
    )
    workspaces_keep_s: float = field(
        default=7 * 86400.0, metadata={"doc": "how long artefacts are kept after the end of their run; 0 = for ever"}
    )
    workspaces_max_bytes: int = field(default=1024**3, metadata={"doc": "artefacts of one attempt that are kept, in bytes"})
    workspaces_max_files: int = field(default=1000, metadata={"doc": "files of one attempt that are kept"})
    workspaces_within_s: float = field(
        default=120.0, metadata={"doc": "how long collecting the artefacts of one attempt is tried, before its run ends without"}
    )
    otlp_endpoint: str = field(
        default="", metadata={"doc": "address of the OTLP/HTTP collector of traces, as http://HOST:4318; empty = no traces"}
    )
    session_s: float = field(default=14 * 86400.0, metadata={"doc": "how long a browser session lasts"})
    fault_dir: str = field(
        default="", metadata={"doc": "for tests of recovery only: a folder of points to hold at (app/faults.py)"}
    )
    log_format: str = field(default="text", metadata={"doc": "text or json"})
    log_level: str = field(default="INFO", metadata={"doc": "DEBUG, INFO, WARNING or ERROR"})
    secure_cookies: bool = field(default=False, metadata={"doc": "send cookies over https only"})
    trusted_proxies: int = field(
        default=0, metadata={"doc": "number of proxies in front whose X-Forwarded-* headers are believed"}
    )

    def watching(self) -> Watching:
        """Return the part of these settings that a process needs which only watches."""
        return Watching(self.redis_url, self.log_format, self.log_level)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. Raises: SettingsError naming every unknown, missing or malformed variable."""
        given = {name: value for name, value in (os.environ if environ is None else environ).items() if name.startswith(PREFIX)}
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        faults = [f"{name} is not a setting of Podwire" for name in given if name not in known and not _is_other(name)]
        values: dict[str, object] = {}
        for name, spec in known.items():
            if name in given:
                try:
                    values[spec.name] = _parse(str(spec.type), given[name])
                except ValueError:
                    faults.append(f"{name} is not a valid {spec.type}")
            elif spec.name in ("database_url", "redis_url", "secret_key"):
                faults.append(f"{name} is missing ({spec.metadata['doc']})")
        if faults:
            raise SettingsError("; ".join(sorted(faults)) + ".")
        return cls(**values)._checked()  # type: ignore[arg-type]

    def _checked(self) -> Settings:
        faults = []
        if len(self.secret_key) < 32:
            faults.append("PODWIRE_SECRET_KEY must have at least 32 characters")
        if self.launcher not in ("local", "kubernetes"):
            faults.append("PODWIRE_LAUNCHER must be local or kubernetes")
        if self.launcher == "kubernetes":
            faults += [f"PODWIRE_{n.upper()} is missing" for n in ("kube_namespace", "kube_agent_image") if not getattr(self, n)]
        faults += [f"PODWIRE_{name.upper()} must be a JSON {kind.__name__}" for name, kind in _JSON if not self._is(name, kind)]
        if not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            faults.append(f"PODWIRE_MAX_ATTEMPTS must lie between 1 and {MOST_ATTEMPTS}")
        if self.max_priority not in list(Priority):
            faults.append(f"PODWIRE_MAX_PRIORITY must be one of {', '.join(Priority)}")
        if not self.renew_s * 2 < self.lease_s:
            faults.append("PODWIRE_RENEW_S must be less than half of PODWIRE_LEASE_S")
        if self.workspaces_dir and not Path(self.workspaces_dir).is_absolute():
            faults.append("PODWIRE_WORKSPACES_DIR must be an absolute path")
        least = dict.fromkeys(("workspaces_max_files", "workspaces_max_bytes"), 1)
        least |= dict.fromkeys(("workspaces_within_s", "workspaces_keep_s", "keep_runs_s"), 0)
        faults += [f"PODWIRE_{name.upper()} must be at least {n}" for name, n in least.items() if getattr(self, name) < n]
        try:
            self._languages()
        except (ValueError, AttributeError, TypeError):
            faults.append("PODWIRE_LANGUAGES must be a JSON object of lists of words")
        if faults:
            raise SettingsError("; ".join(faults) + ".")
        return self

    def _is(self, name: str, kind: type) -> bool:
        try:
            return isinstance(self.parsed(name), kind)
        except ValueError:
            return False

    def parsed(self, name: str) -> Any:
        """Return the value of a setting that holds JSON."""
        return json.loads(getattr(self, name))

    def limits(self) -> Limits:
        """Return the admission limits."""
        return Limits(
            self.max_pending_per_owner, self.max_active_per_owner, self.max_queue, self.max_active, ageing_s=self.ageing_s
        )

    def retries(self) -> Retries:
        """Return when failed attempts are followed by others."""
        return Retries(self.max_attempts, self.retry_backoff_s)

    def artefact_rules(self) -> ArtefactRules:
        """Return what is kept of what programs leave, and how long: never longer than their runs."""
        keep_s = min((each for each in (self.workspaces_keep_s, self.keep_runs_s) if each > 0), default=0.0)
        return ArtefactRules(self.workspaces_max_files, self.workspaces_max_bytes, self.workspaces_within_s, keep_s)

    def spec_limits(self) -> SpecLimits:
        """Return the maxima for one run."""
        return SpecLimits(
            self._languages(),
            max_cpu=self.max_cpu,
            max_memory_bytes=self.max_memory_bytes,
            max_timeout_s=self.max_timeout_s,
            images=self.image_rules() if self.launcher == "kubernetes" else None,
        )

    def _languages(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(words) for name, words in json.loads(self.languages).items()}

    def image_rules(self) -> ImageRules:
        """Return which images runs may have on a cluster."""
        return ImageRules(self.parsed("kube_images"), self.kube_default_image, tuple(self.parsed("kube_allowed_images")))

    def state_path(self, *parts: str) -> Path:
        """Return a path below the state folder."""
        return Path(self.state_dir).resolve().joinpath(*parts)

    def environment(self) -> dict[str, str]:
        """Return the environment that reads back as these settings."""
        return {PREFIX + f.name.upper(): str(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class Watching:
    """What a process needs that only watches the broker (Flower): neither the database nor the key of sessions."""

    redis_url: str
    log_format: str = "text"
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Watching:
        """Read the environment; other settings in it are ignored. Raises: SettingsError."""
        given = os.environ if environ is None else environ
        values = {each.name: given[name] for each in fields(cls) if (name := PREFIX + each.name.upper()) in given}
        if not values.get("redis_url"):
            raise SettingsError("PODWIRE_REDIS_URL is missing (redis://… of the broker).")
        return cls(**values)

    def environment(self) -> dict[str, str]:
        """Return the environment that reads back as these settings."""
        return {PREFIX + each.name.upper(): getattr(self, each.name) for each in fields(self)}


# Read by the command line client and inside runs, never by the service.
NOT_SETTINGS = {
    "PODWIRE_URL",
    "PODWIRE_TOKEN",
    "PODWIRE_RUN_ID",
    "PODWIRE_DIR",
    "PODWIRE_ATTEMPT",
    "PODWIRE_HOME",
    "PODWIRE_ARTEFACTS",
    "PODWIRE_CPU_MILLICORES",
    "PODWIRE_MEMORY_BYTES",
    "PODWIRE_DISK_BYTES",
    "PODWIRE_PIDS",
}


def _is_other(name: str) -> bool:
    # PODWIRE_TEST_… tells the tests where they run.
    return name in NOT_SETTINGS or name.startswith(PREFIX + "TEST_")


_JSON: tuple[tuple[str, type], ...] = (
    ("kube_images", dict),
    ("kube_allowed_images", list),
    ("kube_pull_secrets", list),
    ("kube_node_selector", dict),
    ("kube_tolerations", list),
)


def _parse(kind: str, text: str) -> object:
    if kind == "bool":
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(text)
        return text.lower() in ("true", "1")
    return {"int": int, "float": float, "str": str}[kind](text)
