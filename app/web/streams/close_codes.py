"""Why this side closes a WebSocket: codes of RFC 6455, section 7.4.1, and our own from 4400 on. Part of the API."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """The codes with which this side closes a connection."""

    ENDED = 1000
    BINARY = 1003
    TOO_BIG = 1009
    INTERNAL = 1011
    DRAINING = 1012
    BAD_FRAME = 4400
    UNAUTHENTICATED = 4401
    UNKNOWN_RUN = 4404
    SLOW = 4408


class Violation(Exception):
    """The client broke the protocol: the connection is closed with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        """The reason is for the client's developer."""
        super().__init__(reason)
        self.code, self.reason = code, reason
