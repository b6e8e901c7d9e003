"""One HTTP request and its answer, with every failure on the way as one of our errors. What is asked for is in http.py.

The standard library's client takes half of the time in which the command starts, so this is loaded by the first request only.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from app.cli.client.refusal import refusal
from app.cli.client.target import Target
from app.cli.errors import NobodyThere, Unreachable

TIMEOUT_S = 30.0
MAX_PROBLEM_BYTES = 64 * 1024


@contextmanager
def opened(
    target: Target, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    """Send the request and give the answer to be read. Raises: Refused for any that is not a success, Unreachable."""
    request = urllib.request.Request(target.url.rstrip("/") + path, data=body, method=method, headers=dict(headers))
    request.add_header("Authorization", f"Bearer {target.token}")
    request.add_header("Accept", "application/json, application/problem+json, */*")
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with _opener(target).open(request, timeout=TIMEOUT_S) as response:
            yield response
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(error.code, error.read(MAX_PROBLEM_BYTES), target.url) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError) and target.is_local:
            raise NobodyThere(f"Nothing answers at {target.url}; start it with: podwire up") from error
        raise Unreachable(f"{target.url} cannot be reached: {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"The connection to {target.url} broke: {error or type(error).__name__}.") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are errors: following one could hand the token to another host."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """Follow none."""


def _opener(target: Target) -> urllib.request.OpenerDirector:
    proxies = urllib.request.ProxyHandler({}) if target.is_local else urllib.request.ProxyHandler()
    return urllib.request.build_opener(proxies, _NoRedirect)
