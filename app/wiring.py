"""The one place that picks implementations: settings in, collaborators out. Nothing here decides anything else."""

from __future__ import annotations

import logging
import uuid

from app.domain.errors import PodwireError
from app.launch.local import LocalLauncher
from app.live.connect import redis_client
from app.live.hub import Hub
from app.live.nudges import RedisNudges
from app.live.publisher import CeleryPublisher
from app.live.redis_log import RedisEventLog
from app.service.dispatch import dispatch
from app.service.services import Services
from app.store.chunks import ChunkStore
from app.store.engine import make_engine
from app.store.inputs import InputStore
from app.store.questions import QuestionStore
from app.store.runs import RunStore
from app.store.users import UserStore
from app.supervise.archiver import Archiver
from app.supervise.crew import Crew, DatabaseClock
from app.supervise.leases import Leases
from app.supervise.wakes import Wakes
from config.celery import make_celery
from config.settings import Settings

logger = logging.getLogger(__name__)


def build_services(settings: Settings) -> Services:
    """Return the services of a process that was started with these settings; they connect when first used."""
    engine = make_engine(settings.database_url)
    redis = redis_client(settings.redis_url)
    spec_limits = settings.spec_limits()
    attempts = settings.state_path("local")
    return Services(
        process_id=str(uuid.uuid4()),
        runs=RunStore(engine),
        chunks=ChunkStore(engine),
        questions=QuestionStore(engine),
        inputs=InputStore(engine),
        users=UserStore(engine),
        log=RedisEventLog(redis, settings.log_ttl_s),
        nudges=RedisNudges(redis),
        publisher=CeleryPublisher(make_celery(settings)),
        launcher=LocalLauncher(attempts, spec_limits.languages, settings.keep_removed_s),
        limits=settings.limits(),
        spec_limits=spec_limits,
        max_questions=settings.max_questions,
        lease_s=settings.lease_s,
        renew_s=settings.renew_s,
        tick_s=settings.tick_s,
    )


def build_crew(services: Services) -> Crew:
    """Return what the supervisors of a worker process share."""
    return Crew(
        process_id=services.process_id,
        lease_s=services.lease_s,
        max_questions=services.max_questions,
        runs=services.runs,
        chunks=services.chunks,
        questions=services.questions,
        inputs=services.inputs,
        log=services.log,
        launcher=services.launcher,
        leases=Leases(services.runs, services.process_id, services.lease_s, services.renew_s),
        archiver=Archiver(),
        wakes=Wakes(),
        clock=DatabaseClock(services.runs.now),
        on_release=lambda: _dispatch(services),
    )


def _dispatch(services: Services) -> None:
    try:
        dispatch(services)
    except PodwireError as error:
        logger.warning("places not filled yet: %s", error)


def build_hub(services: Services, settings: Settings) -> Hub:
    """Return the hub of a web process, not started yet."""
    return Hub(services.log, services.chunks, redis_client(settings.redis_url))
