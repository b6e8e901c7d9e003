"""The one place that picks implementations: settings in, collaborators out. Nothing here decides anything else."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

from sqlalchemy import Engine

from app.domain.errors import PodwireError, SettingsError
from app.domain.metrics import TICK_FAILURES
from app.domain.ports import CollectingLauncher
from app.domain.runs.run import Priority
from app.domain.tracing import NoTracer, Tracer
from app.launch.kubernetes.pods.manifest import Shape
from app.launch.local.launcher import LocalLauncher
from app.live.connect import quick_client, redis_client
from app.live.hub import Hub
from app.live.nudges import RedisNudges
from app.live.publisher import CeleryPublisher
from app.live.redis_log import RedisEventLog
from app.live.uses import RedisUses
from app.service.queue.dispatch import dispatch
from app.service.services import Services
from app.store.artefacts.workspaces import Workspaces
from app.store.engine import make_engine
from app.store.runs.attempts import Attempts
from app.store.store import make_store
from app.supervise.artefact_storage import ArtefactStorage
from app.supervise.log.archiver import Archiver
from app.supervise.worker.leases import Leases
from app.supervise.worker.wakeups import Wakeups
from app.supervise.worker.worker_context import DatabaseClock, WorkerContext
from config.celery import make_celery
from config.settings import Settings

logger = logging.getLogger(__name__)


def build_services(settings: Settings) -> Services:
    """Return the services of a process that was started with these settings; they connect when first used."""
    engine = make_engine(settings.database_url)
    redis = redis_client(settings.redis_url)
    spec_limits = settings.spec_limits()
    process_id = str(uuid.uuid4())
    store = make_store(engine, process_id)
    launcher = _launcher(settings, store.attempts)
    services = Services(
        process_id=process_id,
        store=store,
        workspaces=Workspaces(Path(settings.workspaces_dir)) if settings.workspaces_dir else None,
        artefact_rules=settings.artefact_rules(),
        log=RedisEventLog(redis, settings.log_ttl_s),
        uses=RedisUses(quick_client(settings.redis_url)),
        nudges=RedisNudges(redis),
        publisher=CeleryPublisher(make_celery(settings)),
        launcher=launcher,
        collector=launcher,
        limits=settings.limits(),
        spec_limits=spec_limits,
        max_questions=settings.max_questions,
        retries=settings.retries(),
        launch_within_s=settings.launch_within_s,
        lease_s=settings.lease_s,
        renew_s=settings.renew_s,
        tick_s=settings.tick_s,
        keep_failed_s=settings.kube_keep_failed_s if settings.launcher == "kubernetes" else 0.0,
        keep_runs_s=settings.keep_runs_s,
        highest_priority=Priority(settings.max_priority),
        tracer=_tracer(settings, process_id),
    )
    if settings.fault_dir:
        _install_faults(settings, services, engine)
    return services


def _tracer(settings: Settings, process_id: str) -> Tracer:
    if not settings.otlp_endpoint:
        return NoTracer()
    # An extra, and slow to import.
    try:
        from app.live.tracing import OtelTracer
    except ImportError as error:
        raise SettingsError("PODWIRE_OTLP_ENDPOINT is set, but the extra `otel` of Podwire is not installed.") from error
    return OtelTracer(settings.otlp_endpoint, process_id)


def _install_faults(settings: Settings, services: Services, engine: Engine) -> None:
    from app.faults import install

    logger.warning("PODWIRE_FAULT_DIR is set: this process can be held at will. It is for tests only.")
    store = services.store
    parts = {
        "submissions": store.submissions,
        "queue": store.queue,
        "leases": store.leases,
        "attempts": store.attempts,
        "runs": store.runs,
    }
    install(
        Path(settings.fault_dir),
        engine,
        {**parts, "publisher": services.publisher, "launcher": services.launcher, "log": services.log},
    )


def _launcher(settings: Settings, attempts: Attempts) -> CollectingLauncher:
    if settings.launcher == "local":
        languages = settings.spec_limits().languages
        keeps = bool(settings.workspaces_dir)
        return LocalLauncher(settings.state_path("local"), languages, settings.keep_removed_s, keeps_artefacts=keeps)
    # Only where it is used: the client takes a quarter of a second to import.
    from app.launch.kubernetes.api.kube_api import KubeApi
    from app.launch.kubernetes.api.kube_errors import ApiFailure
    from app.launch.kubernetes.launcher import KubernetesLauncher

    try:
        return KubernetesLauncher(KubeApi(settings.worker_concurrency), pod_shape(settings), attempts.add_evidence)
    except ApiFailure as failure:
        raise SettingsError(f"PODWIRE_LAUNCHER is kubernetes, but {failure.message}.") from failure


def pod_shape(settings: Settings) -> Shape:
    """Return how the pods of runs are made with these settings."""
    return Shape(
        namespace=settings.kube_namespace,
        agent_image=settings.kube_agent_image,
        instance=settings.kube_instance,
        languages=settings.spec_limits().languages,
        images=settings.parsed("kube_images"),
        default_image=settings.kube_default_image,
        allowed_images=tuple(settings.parsed("kube_allowed_images")),
        pull_secrets=tuple(settings.parsed("kube_pull_secrets")),
        runtime_class=settings.kube_runtime_class,
        node_selector=settings.parsed("kube_node_selector"),
        tolerations=tuple(settings.parsed("kube_tolerations")),
        lost_node_s=settings.kube_lost_node_s,
        pids_limit=settings.kube_pids_limit,
        priority_class=settings.kube_priority_class,
        service_account=settings.kube_service_account,
        user_id=settings.kube_user_id,
        keeps_artefacts=bool(settings.workspaces_dir),
    )


def report_access(settings: Settings) -> None:
    """Log what this process may not do where its launcher works. Never raises; it waits for the cluster's answers."""
    if settings.launcher != "kubernetes":
        return
    from app.launch.kubernetes.api.kube_api import KubeApi
    from app.launch.kubernetes.checks.rbac import log_lacking

    log_lacking(lambda: KubeApi(1), settings.kube_namespace)


def report_storage(services: Services) -> None:
    """Log where the storage of artefacts cannot be used by this process. Never raises."""
    try:
        if services.workspaces is not None:
            services.workspaces.storage_id()
    except PodwireError as error:
        logger.error("configuration error: %s", error.detail)


def build_worker_context(services: Services, slots: int) -> WorkerContext:
    """Return what the supervisors of a worker process share."""

    def failed(work: str) -> None:
        services.store.counters.note(TICK_FAILURES.count(work))

    return WorkerContext(
        process_id=services.process_id,
        lease_s=services.lease_s,
        launch_within_s=services.launch_within_s,
        max_questions=services.max_questions,
        retries=services.retries,
        keep_failed_s=services.keep_failed_s,
        tracer=services.tracer,
        forms=services.forms,
        store=services.store,
        log=services.log,
        uses=services.uses,
        launcher=services.launcher,
        leases=Leases(
            services.store.leases,
            services.process_id,
            services.lease_s,
            services.renew_s,
            slots,
            on_failure=lambda: failed("leases"),
        ),
        archiver=Archiver(lambda: failed("archiver")),
        wakeups=Wakeups(),
        clock=DatabaseClock(services.store.clock.now),
        on_release=lambda: _dispatch(services),
        artefact_storage=_artefact_storage(services),
    )


def _artefact_storage(services: Services) -> ArtefactStorage | None:
    if services.workspaces is None or services.collector is None:
        return None
    return ArtefactStorage(services.collector, services.workspaces, services.store.artefacts, services.artefact_rules)


def _dispatch(services: Services) -> None:
    try:
        dispatch(services)
    except PodwireError as error:
        logger.warning("places not filled yet: %s", error)


def build_hub(services: Services, settings: Settings) -> Hub:
    """Return the hub of a web process, not started yet."""
    return Hub(services.log, services.store.log, redis_client(settings.redis_url))
