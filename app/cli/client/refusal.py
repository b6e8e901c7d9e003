"""Answers of a service that are no success, as errors of ours."""

from __future__ import annotations

import json

from app.cli.errors import Refused


def refusal(status: int, body: bytes, url: str) -> Refused:
    """Return the error for an answer that is not a success."""
    from http.client import responses

    problem = json_object(body)
    hint = " Sign in with: podwire login" if status == 401 else ""
    refused = Refused(status, problem, f"{url} answered {status} {responses.get(status, '')}".rstrip() + ".")
    refused.detail += hint
    return refused


def json_object(body: bytes) -> dict[str, object]:
    """Return the JSON object in a body; an empty one for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
