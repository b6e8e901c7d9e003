"""What a run uses while it goes on, and the evidence after it: on every replica, and over a change of supervisors."""

from __future__ import annotations

import signal
from datetime import datetime

from app.live.connect import redis_client
from app.live.names import use_key
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.servers import wait_until

MIB = 1024 * 1024
GREEDY = """
import time
data = b"x" * (100 * 1024 * 1024)
print("has it", flush=True)
while True:
    sum(range(20_000))
    time.sleep(0.01)
"""
PATIENT = "echo first; read line; echo last"


def use_of(client: Client, run: str) -> dict[str, object]:
    use = client.run(run)["use"]
    return use if isinstance(use, dict) else {}


def test_every_replica_shows_what_a_run_uses_and_afterwards_what_it_used(podwire: Podwire) -> None:
    client = podwire.client()
    run = client.submit(GREEDY, "python", memory="512Mi")
    wait_until(lambda: use_of(client, run), "something is known")
    wait_until(lambda: int(str(use_of(client, run).get("memory_bytes", 0))) > 100 * MIB, "the memory is seen")
    wait_until(lambda: use_of(client, run).get("cpu_cores"), "the rate is known")
    for replica in range(len(podwire.web)):
        use = use_of(client.at(replica), run)
        assert 100 * MIB < int(str(use["memory_bytes"])) <= int(str(use["peak_memory_bytes"])) < 250 * MIB
        assert use["memory_limit_bytes"] == 512 * MIB
        assert float(str(use["cpu_seconds"])) > 0 and 0 < float(str(use["cpu_cores"])) < 8
    with redis_client(podwire.redis.url) as redis:
        redis.flushall()
        wait_until(lambda: redis.exists(use_key(run)), "it is back")
    client.cancel(run)
    ended = client.wait_end(run)
    assert ended["use"] is None
    outcome = ended["outcome"]
    assert isinstance(outcome, dict) and 100 * MIB < outcome["peak_memory_bytes"] < 250 * MIB
    assert outcome["cpu_seconds"] > 0


def test_phases_are_told_in_order_also_by_a_supervisor_that_took_over(podwire: Podwire) -> None:
    client = podwire.client()
    run = client.submit(PATIENT, stdin=True)
    wait_until(lambda: client.output(run) == b"first\n", "it has written")
    before = phases_of(client.run(run))
    assert {"queued", "dispatched", "claimed", "started"} <= before.keys()
    for worker in podwire.workers:
        worker.kill()
    for worker in podwire.workers:
        worker.start()
    client.post(f"/v1/runs/{run}/input", {"data": "go\n"}).must(202)
    ended = client.wait_end(run)
    after = phases_of(ended)
    assert list(after) == ["queued", "dispatched", "claimed", "started", "first_byte", "exited", "ended"]
    assert list(after.values()) == sorted(after.values())
    assert {name: at for name, at in after.items() if name in before and name != "first_byte"} == before


def test_a_run_that_never_started_has_fewer_facts(podwire: Podwire) -> None:
    client = podwire.client()
    for worker in podwire.workers:
        worker.send(signal.SIGSTOP)
    run = client.submit("echo never")
    client.cancel(run)
    for worker in podwire.workers:
        worker.send(signal.SIGCONT)
    ended = client.wait_end(run)
    evidence = ended["evidence"]
    assert isinstance(evidence, dict) and (evidence["node"], evidence["image"]) == (None, None)
    assert {"started", "first_byte", "exited"}.isdisjoint(phases_of(ended)) and "ended" in phases_of(ended)


def phases_of(run: dict[str, object]) -> dict[str, float]:
    """Return the phases that are known, in the order in which they are told."""
    evidence = run["evidence"]
    assert isinstance(evidence, dict)
    return {name: datetime.fromisoformat(at).timestamp() for name, at in evidence["phases"].items() if at}
