"""Numbers, positions and headers that no database or clock can hold: every door answers with a reason."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.unit.web.doubles import Site

TEXTS = (
    "9" * 18,
    "9" * 19,
    "9" * 38,
    "9" * 5000,
    "-1",
    "1e400",
    "NaN",
    "Infinity",
    "²",
    "٣",
    "\0",
    "\ud800",
    "x" * 7000,
    "0-0",
    "[" * 3000,
)
PLACES = (
    "/v1/runs?limit={}",
    "/v1/runs?cursor={}",
    "/v1/runs?label={}",
    "/v1/audit?before={}",
    "/v1/audit?limit={}",
    "/v1/runs/{run}/output?from={}",
    "/v1/runs/{run}/output?attempt={}",
    "/v1/runs/{run}/events?position={}",
    "/v1/runs/{run}/events?position={}-1",
    "/v1/runs/{run}/events?position=1-{}",
    "/v1/runs/{run}/artefacts?attempt={}",
    "/v1/runs/{run}/artefacts?cursor={}",
    "/?before={}",
    "/runs?before={}",
    "/new?from={}",
    "/limits?scope={}",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_query_is_an_error_of_ours(site: Site, place: str) -> None:
    run = site.submit()["id"]
    for text in TEXTS:
        sent = quote(text.encode("utf-8", "surrogatepass"))
        for name in ("ann", "root"):
            assert site.client(name).get(place.replace("{run}", run).replace("{}", sent)).status_code < 500, text[:40]


@pytest.mark.parametrize("name", ["Range", "Last-Event-ID", "Idempotency-Key", "traceparent", "If-None-Match", "Authorization"])
def test_no_header_is_an_error_of_ours(site: Site, name: str) -> None:
    run = site.submit()["id"]
    for text in TEXTS:
        for form in ("{}", "bytes=0-{}", "bytes={}-", "{}-1", "1-{}", "Bearer {}", "00-{}-01"):
            value = form.format(text).encode("utf-8", "replace").decode("latin-1").replace("\0", "")
            for path in (f"/v1/runs/{run}/output", f"/v1/runs/{run}/events?position=9-9", "/v1/runs"):
                answer = site.client().get(path, headers={name: value}, buffered=False)
                assert answer.status_code < 500, value[:40]
                answer.close()
            if name in ("Idempotency-Key", "traceparent"):
                answer = site.client().post("/v1/runs", json={"script": "x", "language": "bash"}, headers={name: value})
                assert answer.status_code < 500, value[:40]


def test_no_number_of_a_run_is_an_error_of_ours(site: Site) -> None:
    for number in (
        "1e308",
        "-1e308",
        "1e400",
        "9" * 19,
        "9" * 400,
        "9" * 5000,
        "NaN",
        '"' + "9" * 18 + "Ti" + '"',
        '"' + "9" * 18 + "d" + '"',
    ):
        for field in ("cpu", "memory", "disk", "timeout", "queue_timeout", "grace", "output_limit"):
            body = f'{{"script": "x", "language": "bash", "{field}": {number}}}'
            answer = site.client().post("/v1/runs", data=body, content_type="application/json")
            assert answer.status_code in (400, 422), (field, number[:20])
