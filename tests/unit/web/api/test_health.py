"""What machines ask: whether a process is alive and ready, and its numbers."""

from __future__ import annotations

from tests.unit.web.doubles import Site


def test_readiness_and_numbers(site: Site) -> None:
    client = site.client(None)
    site.submit()
    site.hub.degraded = True
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["live"]) == (200, "degraded")
    text = client.get("/metrics").text
    assert 'podwire_queue_depth{priority="normal"} 1' in text and "podwire_live_degraded 1" in text
    site.app.extensions["podwire"].drain.begin()
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    refused = site.client().get(f"/v1/runs/{site.submit()['id']}/events")
    assert (refused.status_code, refused.get_json()["code"]) == (503, "draining") and refused.headers["Retry-After"]
