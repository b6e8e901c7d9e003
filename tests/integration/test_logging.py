"""What a whole service writes to its log when it is told to write JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.integration.cluster import Podwire
from tests.integration.watcher import watch
from tests.servers import wait_until


def test_every_line_is_json_and_every_line_about_a_run_has_its_id(other_podwire: Callable[..., Podwire]) -> None:
    podwire = other_podwire(web=2, workers=1, log_format="json", log_level="DEBUG")
    client = podwire.client()
    runs = [client.submit("echo on; sleep 2; echo $(ask 'Name?')") for _ in range(2)]
    for run in runs:
        watch(client, run).wait_for("on\n")
    for worker in podwire.workers:
        worker.kill()
        worker.start()
    podwire.redis.kill()
    podwire.redis.start()
    for run in runs:
        client.answer(client.wait_question(run)[0]["id"], "Ann").must(200)
        assert client.wait_end(run)["status"] == "succeeded"
    # A run has ended before its task has.
    wanted = {"app.supervise.claim", "celery.worker.strategy", "celery.app.trace", "app.service.reconcile"}
    wait_until(lambda: all(wanted <= _loggers(_lines(podwire), run) for run in runs), "every part wrote about every run")
    lines = _lines(podwire)
    assert len(lines) > 20
    for line in lines:
        assert {"time", "level", "logger", "message"} <= line.keys()
        named = set(re.findall(r"\br[a-z2-7]{19}\b", line["message"])) & set(runs)
        assert not named or line.get("run_id") in named, line


def _lines(podwire: Podwire) -> list[dict[str, str]]:
    # The last line of a process may be half written.
    written = [text for process in podwire.processes for text in process.log.read_text().splitlines(keepends=True)]
    return [json.loads(text) for text in written if text.endswith("\n")]


def _loggers(lines: list[dict[str, str]], run: str) -> set[str]:
    return {line["logger"] for line in lines if line.get("run_id") == run}
