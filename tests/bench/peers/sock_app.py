"""flask-sock with one Redis subscription per socket: the plain way, as the documentation of both libraries shows.

Run by gunicorn's gevent worker as `tests.bench.peers.sock_app:app`; Redis is `BENCH_REDIS`.
"""

from __future__ import annotations

import os
from typing import Any

import redis
from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)
# redis-py 8 allows 100 connections where nothing is said; here each socket has one.
client = redis.Redis.from_url(os.environ["BENCH_REDIS"], max_connections=30_000)


@sock.route("/runs/<run_id>")
def watch(ws: Any, run_id: str) -> None:
    """Send each message of the run's channel to the socket."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(f"bench:{run_id}")
    for message in pubsub.listen():
        ws.send(message["data"].decode())
