"""How Celery is set up, the same in every process that publishes, consumes or watches.

The pins in setup.cfg belong to these values.
"""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue

from app.live import broker
from config.settings import Settings

QUEUE = "podwire"
# Recovery is the reconciler's work: a message is given out a second time only after a day, and refused by the claim.
VISIBILITY_TIMEOUT_S = 86_400


def make_celery(settings: Settings) -> Celery:
    """Return the application of a process that publishes or consumes; it connects to nothing yet."""
    app = make_observer(settings.redis_url)
    app.conf.update(worker_concurrency=settings.worker_concurrency)
    return app


def make_observer(redis_url: str) -> Celery:
    """Return the application of a process that only watches, with the very same options; it connects to nothing yet."""
    broker.register()
    app = Celery("podwire", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_queues=[Queue(QUEUE)],  # type: ignore[no-untyped-call]
        task_default_queue=QUEUE,
        task_default_priority=5,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_send_sent_event=True,
        worker_send_task_events=True,
        worker_pool="threads",
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=2,
        broker_transport_options=transport_options(),
    )
    return app


def transport_options() -> dict[str, object]:
    """Return the options of the Redis transport; Flower needs the very same."""
    return {
        "priority_steps": list(range(10)),
        "queue_order_strategy": "priority",
        "sep": ":",
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
