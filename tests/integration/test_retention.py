"""Runs that ended long enough ago are gone from every replica, with all that they left; others are as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.integration.watcher import watch
from tests.servers import wait_until

KEEP_S = 5
SCRIPT = 'echo begun; echo x > $PODWIRE_ARTEFACTS/x; echo "$(ask Go?)"'


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def site(postgres, storage: Path) -> Iterator[Podwire]:
    made = Podwire(postgres, workspaces_dir=storage, keep_runs_s=KEEP_S, tick_s=0.1)
    try:
        made.start()
        yield made
        made.must_run()
    finally:
        made.stop()


def answer(client: Client, run: str) -> object:
    (question,) = client.wait_question(run)
    client.answer(question["id"], "go").must(200)
    return question["id"]


def test_a_run_goes_when_its_time_is_over(site: Podwire, storage: Path) -> None:
    client = site.client()
    old, live = client.submit(SCRIPT, key="k"), client.submit(SCRIPT, labels={"workspace": "live"})
    client.wait_question(live)
    watcher = watch(client, live)
    question = answer(client, old)
    client.wait_end(old)
    assert client.output(old) == b"begun\ngo\n"
    assert client.get(f"/v1/runs/{old}/artefacts/x").must(200).body == b"x\n"

    wait_until(lambda: client.get(f"/v1/runs/{old}").status == 404, "its time was over", deadline_s=60.0)
    for replica in range(3):
        at = client.at(replica)
        for path in ("", "/output", "/events", "/questions", "/artefacts", "/artefacts/x"):
            at.get(f"/v1/runs/{old}{path}").refused(404, "not_found")
        at.answer(question, "go").refused(404, "not_found")
        assert [run["id"] for run in at.get("/v1/runs").must(200).json["items"]] == [live]  # type: ignore[attr-defined]
    assert not [path for path in storage.rglob("*") if old in path.parts]
    assert sum(worker.log.read_text().count("1 runs that ended") for worker in site.workers) == 1
    wait_until(lambda: b"podwire_runs_removed_total 1\n" in client.get("/metrics").must(200).body, "it was counted")

    assert client.status(live) == "waiting", "however long it lasts, what has not ended stays"
    answer(client, live)
    watcher.finish(b"begun\ngo\n")
    assert client.output(live) == b"begun\ngo\n"
    assert client.submit("true", key="k") != old, "its key is free again"
