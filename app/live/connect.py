"""How Redis is reached: one client with bounded waits, and the one translation of its errors.

What is said to Redis belongs to the modules that say it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from app.domain.errors import LiveUnavailable

CONNECT_TIMEOUT_S = 2.0
SOCKET_TIMEOUT_S = 4.0
MAX_CONNECTIONS = 128
QUICK_S = 0.5


def redis_client(url: str) -> redis.Redis:
    """Return a thread-safe client (bytes in, bytes out) whose every wait is bounded, also when the server is silent.

    A command is repeated at most twice after a broken connection: all that we send may be repeated without harm.
    """
    return redis.Redis.from_url(
        url,
        # RESP2: pub/sub messages arrive as plain replies, on Redis 6 to 8 and Valkey alike.
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=15,
        max_connections=MAX_CONNECTIONS,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 2),
    )


def quick_client(url: str) -> redis.Redis:
    """Return a client for what can be done without: it gives up at once and repeats nothing."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        decode_responses=False,
        socket_connect_timeout=QUICK_S,
        socket_timeout=QUICK_S,
        socket_keepalive=True,
        max_connections=MAX_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn every error of the Redis client into LiveUnavailable."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise LiveUnavailable(f"Redis cannot be reached at the moment ({type(error).__name__}).") from error
