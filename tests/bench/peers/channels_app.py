"""Django Channels: one group per run, `group_send` per event, as in the tutorial's chat consumer.

Read by daphne or uvicorn as `tests.bench.peers.channels_app:application`; the layer is `BENCH_LAYER`, Redis is `BENCH_REDIS`.
"""

from __future__ import annotations

import os
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

LAYERS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}


def set_up() -> None:
    """Configure Django with nothing but the channel layer, once.

    redis-py 8 allows 100 connections where nothing is said, which breaks the layer as soon as more sockets open at a time.
    """
    if settings.configured:
        return
    settings.configure(
        SECRET_KEY="only for a benchmark on the loopback interface",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        CHANNEL_LAYERS={
            "default": {
                "BACKEND": LAYERS[os.environ["BENCH_LAYER"]],
                "CONFIG": {"hosts": [{"address": os.environ["BENCH_REDIS"], "max_connections": 30_000}]},
            }
        },
    )
    django.setup()


class RunConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket that watches one run."""

    async def connect(self) -> None:
        """Join the run's group."""
        self.group = "run_" + self.scope["url_route"]["kwargs"]["run_id"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave the run's group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def run_event(self, event: dict[str, Any]) -> None:
        """Send one event."""
        await self.send(text_data=event["text"])


set_up()
urlpatterns: list[Any] = []
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("runs/<run_id>", RunConsumer.as_asgi())])}
)
