"""`podwire doctor`: checks one thing after the other from the client to the cluster, and says what to do about each fault."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from app.cli.client.http import Api
from app.cli.client.target import find_target, state_folder
from app.cli.embedded.state import saved_settings
from app.cli.errors import Refused, Stop
from app.cli.grammar import command, option
from app.cli.terminal.output import put
from app.domain.errors import PodwireError
from app.launch.kubernetes.checks.check_result import CheckResult, State
from config.settings import Settings

Check = tuple[str, Callable[[], str]]
WORDS = {State.OK: "ok", State.UNSEEN: "note", State.WARNING: "warning", State.FAILED: "failed"}


@command("doctor")
@option("--cluster", is_flag=True, help="only what runs on Kubernetes need: rights, room, images, probe runs")
def doctor(cluster: bool) -> int:
    """Check the connection, the token and, on the server, its parts."""
    settings = _settings()
    checks: list[Check] = [("client", _client)]
    if not cluster:
        checks += [("service", _service), ("token", _token), ("readiness", _readiness)]
    if settings is not None and not cluster:
        checks += [("database", lambda: _database(settings)), ("redis", lambda: _redis(settings))]
    if settings is not None:
        checks.append(("launcher", lambda: _launcher(settings)))
    if settings is not None and settings.workspaces_dir and not cluster:
        checks.append(("storage", lambda: _storage(settings)))
    results = [_run(name, check) for name, check in checks]
    if settings is not None and settings.launcher == "kubernetes":
        results += [_show(finding) for finding in _cluster(settings)]
    elif cluster:
        results.append(
            _show(CheckResult("cluster", State.FAILED, "runs do not use a cluster here", "Set PODWIRE_LAUNCHER=kubernetes."))
        )
    return 0 if all(results) else 1


def _run(name: str, check: Callable[[], str]) -> bool:
    try:
        return _show(CheckResult(name, State.OK, check()))
    except PodwireError as error:
        return _show(CheckResult(name, State.FAILED, error.detail))


def _show(finding: CheckResult) -> bool:
    """Print the finding and what to do about it; False for a fault."""
    put(f"{WORDS[finding.state]:8}{finding.name:12} {finding.detail}")
    for line in finding.advice.splitlines():
        put(f"{'':21}{line}")
    return finding.state is not State.FAILED


def _cluster(settings: Settings) -> Iterator[CheckResult]:
    # Only where it is used: the client of the cluster takes a quarter of a second to import.
    from app.launch.kubernetes.api.kube_api import KubeApi
    from app.launch.kubernetes.checks.cluster_checks import CheckedCluster, examine
    from app.launch.kubernetes.launcher import KubernetesLauncher
    from app.wiring import pod_shape

    return examine(CheckedCluster(lambda: KubeApi(4), pod_shape(settings), KubernetesLauncher))


def _settings() -> Settings | None:
    if "PODWIRE_DATABASE_URL" in os.environ:
        return Settings.from_env()
    return saved_settings(state_folder())


def _client() -> str:
    return f"podwire {version('podwire')}, Python {sys.version.split()[0]}"


def _service() -> str:
    target = find_target()
    status, text = Api(target).text("/livez")
    if status != 200:
        raise Stop(f"{target.url} answers {status} at /livez: {text[:200]}")
    return target.url


def _token() -> str:
    try:
        me = Api(find_target()).get("/v1/me")
    except Refused as error:
        raise Stop(f"the token is refused: {error.detail}") from error
    return f"you are {me.get('name')} ({me.get('role')})"


def _readiness() -> str:
    status, text = Api(find_target()).text("/readyz")
    if status != 200:
        raise Stop(f"the service is not ready ({status}): {text[:300]}")
    return "the service takes requests"


def _database(settings: Settings) -> str:
    from app.store.engine import make_engine
    from app.store.schema.migrate import schema_is_current

    engine = make_engine(settings.database_url, pool_size=1, max_overflow=0)
    try:
        if not schema_is_current(engine):
            raise Stop("its tables are those of another version; run: podwire migrate")
        return f"{engine.dialect.name}, up to date"
    finally:
        engine.dispose()


def _redis(settings: Settings) -> str:
    import redis

    try:
        with redis.Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=5) as client:
            about = client.info("server")
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except redis.RedisError as error:
        raise Stop(f"cannot be used: {error}") from error
    if policy != "noeviction":
        raise Stop(f"maxmemory-policy is {policy}; with anything but noeviction Redis throws messages away")
    return f"version {about.get('valkey_version') or about.get('redis_version')}, noeviction"


def _launcher(settings: Settings) -> str:
    folder = settings.state_path()
    _must_be_writable(folder)
    return f"{settings.launcher}, languages {', '.join(json.loads(settings.languages))}"


def _storage(settings: Settings) -> str:
    from app.store.artefacts.workspaces import Workspaces

    folder = settings.workspaces_dir
    identity = Workspaces(Path(folder)).storage_id()
    _must_be_writable(folder)
    return f"artefacts in {folder}, storage {identity[:8]} (the same on every machine, or it is not shared)"


def _must_be_writable(folder: str | Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Stop(f"{folder} cannot be written: {error.strerror}") from error
