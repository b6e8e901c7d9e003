"""The numbers of a whole service: the same from every replica, and equal to what has happened."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.exposition import Scrape, documented, parse
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.servers import wait_until

PRIORITIES = ["critical", "high", "normal", "low", "background"]


def scrapes(podwire: Podwire) -> list[Scrape]:
    """Return what each replica says now."""
    client = Client([web.url for web in podwire.web])
    return [parse(client.at(number).get("/metrics").must(200).body.decode()) for number in range(len(podwire.web))]


def facts(scrape: Scrape) -> dict[str, object]:
    """Return the numbers that the tests look at, without those that depend on time."""
    return {
        "depth": scrape.by("podwire_queue_depth", "priority"),
        "waits": scrape.by("podwire_queue_wait_seconds_count", "priority"),
        "runs": scrape.by("podwire_runs", "state"),
        "ended": scrape.by("podwire_ended_runs_total", "reason"),
        "refused": scrape.by("podwire_refusals_total", "code"),
        "takeovers": scrape.value("podwire_takeovers_total"),
    }


def wait_for(podwire: Podwire, expected: dict[str, object]) -> None:
    """Wait until every replica says this."""
    wait_until(lambda: [facts(scrape) for scrape in scrapes(podwire)] == [expected] * len(podwire.web), f"all said {expected}")


@pytest.mark.trap("C7")
@pytest.mark.trap("M1")
@pytest.mark.trap("M2")
@pytest.mark.trap("M4")
@pytest.mark.trap("M5")
def test_every_replica_says_what_has_happened(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=3, workers=2, max_active=2)
    client = podwire.client()
    running = [client.submit("echo on; sleep 60", grace=0) for _ in range(2)]
    for run in running:
        client.wait_status(run, "running")
    queued = [client.submit("true", priority=PRIORITIES[number % 5]) for number in range(7)]
    for _ in range(4):
        client.get("/v1/runs/r" + "z" * 19).refused(404, "not_found")
    client.cancel(queued[6])
    # Seven were submitted in turn, and the second `high` one was cancelled.
    depth = dict.fromkeys(PRIORITIES, 1) | {"critical": 2}
    held: dict[str, object] = {
        "depth": depth,
        "waits": {"normal": 2},
        "runs": {"active": 2},
        "ended": {"CancelledByUser": 1},
        "refused": {"not_found": 4},
        "takeovers": 0,
    }
    wait_for(podwire, held)
    assert all(scrape.by("podwire_queue_oldest_wait_seconds", "priority").keys() == depth.keys() for scrape in scrapes(podwire))
    assert all(scrape.types == documented() for scrape in scrapes(podwire))
    # Each process says from time to time that it lives.
    living = {"web": 3, "worker": 2}
    wait_until(lambda: all(scrape.by("podwire_processes", "kind") == living for scrape in scrapes(podwire)), "all were seen")
    # None takes over from one that is killed next.
    for worker in podwire.workers:
        worker.kill()
    for worker in podwire.workers:
        worker.start()
    wait_until(lambda: all(scrape.value("podwire_takeovers_total") == 2 for scrape in scrapes(podwire)), "both were taken over")
    for run in running:
        client.cancel(run)
    for run in [*running, *queued]:
        client.wait_end(run)
    wait_for(
        podwire,
        {
            "depth": {},
            "waits": {"critical": 2, "high": 1, "normal": 3, "low": 1, "background": 1},
            "runs": {},
            "ended": {"CancelledByUser": 3, "Completed": 6},
            "refused": {"not_found": 4},
            "takeovers": 2,
        },
    )
    # This one is noted in memory first.
    wait_until(lambda: scrapes(podwire)[0].value("podwire_dispatch_seconds_count") == 8, "the workers had written their counts")
    final = scrapes(podwire)[0]
    assert final.by("podwire_repairs_total", "kind")["lease_expired"] == 2
    assert all(value >= 0 for value in final.values.values())
