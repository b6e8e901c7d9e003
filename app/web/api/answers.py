"""Resources as HTTP answers. Status codes and headers; what a resource holds is in resources."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel


def answer(resource: BaseModel, status: int = 200, **headers: str) -> Response:
    """Return the resource as JSON. `headers` are named as in `Location` or `Retry_After`."""
    response = Response(resource.model_dump_json(exclude={"dispatch"} if _blank(resource) else None), status)
    response.mimetype = "application/json"
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def _blank(resource: BaseModel) -> bool:
    # `dispatch` says something out of the ordinary; it is left out otherwise.
    return getattr(resource, "dispatch", "") is None
