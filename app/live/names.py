"""The names under which things stand in Redis, and the form of the messages on a run's channel. No connection here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.domain.runs.events import Kind, Position

NUDGE_CHANNEL = "pw:nudge"

_STAMP = re.compile(rb'\{"epoch":(\d+),"seq":(\d+),"kind":"([a-z]+)"')


def log_key(run_id: str) -> str:
    """Return the key of the run's stream; the braces keep all keys of a run on one node of a Redis cluster."""
    return f"pw:{{{run_id}}}:log"


def top_key(run_id: str) -> str:
    """Return the key of the hash that says how far the stream reaches."""
    return f"pw:{{{run_id}}}:top"


def use_key(run_id: str) -> str:
    """Return the key of what the run uses at the moment; it expires by itself."""
    return f"pw:{{{run_id}}}:use"


def live_channel(run_id: str) -> str:
    """Return the channel on which appends to the run's stream are announced."""
    return f"pw:{{{run_id}}}:live"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What was appended: `payloads`, numbered from `seq`. Without payloads: the log was begun anew above `seq`."""

    epoch: int
    seq: int
    payloads: tuple[bytes, ...]


def parse_announcement(data: bytes) -> Announcement:
    """Read a message of a run's channel (its form: see lua/append.lua). Raises: ValueError when it is none."""
    first, *payloads = data.split(b"\n")
    epoch, _, seq = first.partition(b" ")
    return Announcement(int(epoch), int(seq), tuple(payloads))


def stamp(payload: bytes) -> tuple[Position, Kind]:
    """Return an event's position and kind without decoding it: `domain.events.encode` writes them first, in this order.

    Raises: ValueError when the payload begins otherwise.
    """
    match = _STAMP.match(payload)
    if match is None:
        raise ValueError(f"not an event: {payload[:60]!r}")
    return Position(int(match[1]), int(match[2])), Kind(match[3].decode())
