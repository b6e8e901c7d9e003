"""The Celery application that Flower looks through: the broker and its options, as every process has them, and nothing else."""

from __future__ import annotations

from config.celery import make_observer
from config.logging import set_up_logging
from config.settings import Watching

settings = Watching.from_env()
set_up_logging(settings)
app = make_observer(settings.redis_url)
