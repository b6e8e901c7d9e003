"""What a whole service writes to its log when it is told to write JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.integration.cluster import Podwire
from tests.integration.watcher import watch


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
    texts = [text for process in podwire.processes for text in process.log.read_text().splitlines()]
    lines = [json.loads(text) for text in texts]
    assert len(lines) > 20
    for line in lines:
        assert {"time", "level", "logger", "message"} <= line.keys()
        named = set(re.findall(r"\br[a-z2-7]{19}\b", line["message"])) & set(runs)
        assert not named or line.get("run_id") in named, line
    for run in runs:
        loggers = {line["logger"] for line in lines if line.get("run_id") == run}
        assert {"app.supervise.claim", "celery.worker.strategy", "celery.app.trace", "app.service.reconcile"} <= loggers
