"""The live log in Redis: one stream per run with one writer, whose rules are in lua/*.lua.

Reading for watchers belongs to the hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import redis

from app.domain.ports import Append, Head
from app.domain.runs.events import Entry
from app.live.connect import translated
from app.live.names import live_channel, log_key, top_key

MAX_CALL_ENTRIES = 1000
MAX_CALL_BYTES = 1024 * 1024


def lua(name: str) -> str:
    """Return the source of one of our scripts."""
    return resources.files("app.live").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


class RedisEventLog:
    """ports.EventLog over Redis 7 or Valkey. Thread-safe. What is not written to for `ttl_s` seconds is forgotten."""

    def __init__(self, client: redis.Redis, ttl_s: float) -> None:
        """Use the client (see app.live.connect) for every call."""
        self._client: Any = client  # its annotations cover text and bytes; ours are bytes
        self._ttl_ms = int(ttl_s * 1000)
        self._append = client.register_script(lua("append"))
        self._open = client.register_script(lua("open"))
        self._trim = client.register_script(lua("trim"))

    def append(self, run_id: str, token: int, epoch: int, entries: Sequence[Entry]) -> Append:
        """Append what is not there yet, if it follows on. Entries are numbered without gaps; many go in several steps."""
        answer = Append.OK
        for part in _parts(entries):
            first_seq = part[0].seq if part else 0
            args: list[bytes | int | str] = [token, epoch, first_seq, self._ttl_ms, live_channel(run_id)]
            for entry in part:
                args += (entry.payload, entry.spool)
            with translated():
                answer = _answer(self._append(keys=_keys(run_id), args=args))
            if answer is not Append.OK:
                break
        return answer

    def open(self, run_id: str, token: int, epoch: int, floor: int) -> Append:
        """Begin the log anew so that `floor + 1` is the next seq."""
        args: list[int | str] = [token, epoch, floor, self._ttl_ms, live_channel(run_id), self.server_id()]
        with translated():
            return _answer(self._open(keys=_keys(run_id), args=args))

    def trim(self, run_id: str, token: int, archived_seq: int) -> Append:
        """Forget the events up to `archived_seq`, which SQL holds; readers take them from there."""
        with translated():
            return _answer(self._trim(keys=_keys(run_id), args=[token, archived_seq]))

    def head(self, run_id: str) -> Head | None:
        """Return the head, or None where nothing is held."""
        with translated():
            held = self._client.hmget(top_key(run_id), "token", "epoch", "seq", "floor", "server")
        if None in held:
            return None
        token, epoch, seq, floor, server = held
        return Head(int(token), int(epoch), int(seq), int(floor), server.decode())

    def read(self, run_id: str, epoch: int, after: int, limit: int) -> list[Entry]:
        """Return up to `limit` entries of the epoch with seq > `after`, in order."""
        with translated():
            rows = self._client.xrange(log_key(run_id), f"({epoch}-{after}", f"{epoch}-{2**64 - 1}", count=limit)
        return [Entry(int(name.partition(b"-")[2]), fields[b"p"], int(fields[b"a"])) for name, fields in rows]

    def server_id(self) -> str:
        """Return the run id of the Redis process."""
        with translated():
            return str(self._client.info("server")["run_id"])


def _keys(run_id: str) -> list[str]:
    return [log_key(run_id), top_key(run_id)]


def _answer(raw: bytes | str) -> Append:
    return Append(raw.decode() if isinstance(raw, bytes) else raw)


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut a long list, so that no call holds the server up or makes too large a message; one empty part for none."""
    start, size = 0, 0
    for index, entry in enumerate(entries):
        size += len(entry.payload)
        if index > start and (size > MAX_CALL_BYTES or index - start >= MAX_CALL_ENTRIES):
            yield entries[start:index]
            start, size = index, len(entry.payload)
    yield entries[start:]
