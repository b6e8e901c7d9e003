"""Flower, as people look at it: each run is there with its owner, priority and image, and nothing can be changed."""

from __future__ import annotations

import ast
import json
import os
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Page, expect

from app.cli.commands.flower import flower_words
from tests.exposition import parse
from tests.integration.cluster import ROOT, Podwire, Process
from tests.servers import free_port, wait_until

USER, PASSWORD = "ops", "only for tests"
# Looks like another field, like markup and like a template. What cannot be printed is no name.
HOSTILE = "eve', 'priority': 'critical <img src=x onerror=alert(1)> {{7*7}}"
ASKS = "import podwire\nprint(podwire.ask('Shall it go on?'))\n"
PATIENCE_MS = 30_000


class Flower(Process):
    """The Flower of a Podwire, started as `podwire flower` starts it."""

    def __init__(self, podwire: Podwire) -> None:
        """Prepare; `start` runs it."""
        port = free_port()
        environment = {"FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}", "FLOWER_READ_ONLY": "false", "FLOWER_UNAUTHENTICATED_API": "1"}
        super().__init__("flower", flower_words("127.0.0.1", port), {**podwire.environment, **environment}, podwire.folder)
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, *, method: str = "GET", password: str | None = PASSWORD) -> tuple[int, str]:
        """Return the status and body of an answer."""
        request = urllib.request.Request(self.url + path, method=method, data=b"" if method == "POST" else None)
        if password is not None:
            request.add_header("Authorization", "Basic " + b64encode(f"{USER}:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def answers(self) -> bool:
        """Say whether it serves."""
        with suppress(OSError):
            return self.ask("/healthcheck", password=None)[0] == 200
        return False


@pytest.fixture(scope="module")
def flower(podwire: Podwire) -> Iterator[Flower]:
    running = Flower(podwire)
    try:
        running.start()
        wait_until(running.answers, "Flower answered", 60)
        # It answers before it listens; what happens until then it does not hear of.
        wait_until(lambda: "flower_worker_online{" in running.ask("/metrics", password=None)[1], "Flower heard of anything", 60)
        yield running
    finally:
        running.stop()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(
        http_credentials={"username": USER, "password": PASSWORD}, viewport={"width": 1500, "height": 900}
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"the page ran what an owner is called: {dialog.message}"))
    yield page
    context.close()


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where somebody wants to look at it."""
    if folder := os.environ.get("PODWIRE_TEST_PICTURES"):
        page.screenshot(path=f"{folder}/flower-{name}.png", full_page=True)


@pytest.fixture(scope="module")
def asking(podwire: Podwire, flower: Flower) -> Iterator[str]:
    """The run of an owner with a hostile name, which waits for an answer."""
    client = podwire.client(HOSTILE)
    run = client.submit(ASKS, "python", priority="high")
    client.wait_question(run)
    wait_until(lambda: started(flower, run), "Flower heard of its start")
    yield run
    client.cancel(run)


def started(flower: Flower, run: str) -> bool:
    """Say whether Flower knows: events come later than what they are about, and its pages stay as they were loaded."""
    tasks = json.loads(flower.ask("/api/tasks")[1]).values()
    return any(run in str(task["args"]) and task["state"] == "STARTED" for task in tasks)


def tells(shown: str) -> None:
    """Check that what an observer is told of the run reads back as three facts, whatever they are."""
    assert shown.startswith("{'priority': 'high', ")
    assert ast.literal_eval(shown) == {"priority": "high", "owner": HOSTILE, "image": "python"}


def test_a_run_that_asks_is_there_with_its_owner_and_priority(page: Page, flower: Flower, asking: str) -> None:
    page.goto(f"{flower.url}/tasks")
    row = page.locator("#tasks-table tbody tr", has_text=asking)
    expect(row).to_contain_text("STARTED")
    expect(row).to_contain_text("{'priority': 'high', 'owner': \"eve', ")
    expect(page.locator("#tasks-table img")).to_have_count(0)
    picture(page, "tasks")
    row.locator("a").first.click()
    expect(page.locator("#task-page")).to_contain_text(asking)
    details = page.locator("#task-page .detail-row", has_text="Keyword arguments").locator("code")
    tells(details.inner_text())
    expect(page.locator("#task-page img, #task-terminate, #task-revoke")).to_have_count(0)
    picture(page, "task")


def test_a_run_is_found_by_its_owner(page: Page, flower: Flower, podwire: Podwire) -> None:
    client = podwire.client("margaret")
    run = client.submit(ASKS, "python", priority="low")
    client.wait_question(run)
    wait_until(lambda: started(flower, run), "Flower heard of its start")
    page.goto(f"{flower.url}/tasks")
    expect(page.locator("#tasks-table tbody tr", has_text=run)).to_be_visible()
    page.locator("#tasks-table_wrapper input[type=search]").fill("kwargs:margaret")
    expect(page.locator("#tasks-table tbody tr")).to_have_count(1)
    expect(page.locator("#tasks-table tbody tr")).to_contain_text(run)
    assert client.cancel(run).status == 202


def test_a_worker_says_what_it_does_even_to_a_flower_that_was_away(page: Page, podwire: Podwire, asking: str) -> None:
    late = Flower(podwire)
    late.start()
    try:
        wait_until(late.answers, "Flower answered", 60)
        wait_until(lambda: worker_of(late), "Flower heard of the worker", 60)
        page.goto(f"{late.url}/worker/{worker_of(late)}")
        page.click("#worker-tab-tasks")
        row = page.locator("#tab-tasks tr", has_text=asking)
        tells(row.locator("td").last.locator(".worker-task-args").get_attribute("title") or "")
        expect(page.locator("#tab-tasks img")).to_have_count(0)
        picture(page, "worker")
    finally:
        late.stop()


def worker_of(flower: Flower) -> str:
    """Return the name of the only worker that Flower knows; empty when it knows none."""
    return next(iter(json.loads(flower.ask("/api/workers")[1])), "")


def test_what_waits_in_the_broker_is_counted_by_priority(page: Page, flower: Flower) -> None:
    page.goto(f"{flower.url}/broker")
    expect(page.locator("table")).to_contain_text("podwire")
    picture(page, "broker")
    status, lengths = flower.ask("/api/queues/length")
    assert status == 200 and [queue["name"] for queue in json.loads(lengths)["active_queues"]] == ["podwire"]


@pytest.mark.parametrize("path", ["/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers", "/api/queues/length"])
def test_nobody_sees_anything_without_the_password(flower: Flower, path: str) -> None:
    assert flower.ask(path, password=None)[0] == 401
    assert flower.ask(path, password="wrong")[0] == 401
    assert flower.ask(path)[0] == 200


WRITES = [
    "/api/worker/shutdown/{worker}", "/api/worker/pool/restart/{worker}", "/api/worker/pool/grow/{worker}?n=1",
    "/api/worker/pool/shrink/{worker}?n=1", "/api/worker/pool/autoscale/{worker}?min=1&max=2",
    "/api/worker/queue/add-consumer/{worker}?queue=x", "/api/worker/queue/cancel-consumer/{worker}?queue=podwire",
    "/api/task/apply/runs.supervise", "/api/task/async-apply/runs.supervise", "/api/task/send-task/runs.supervise",
    "/api/task/abort/{task}", "/api/task/revoke/{task}?terminate=true", "/api/task/timeout/runs.supervise?soft=1",
    "/api/task/rate-limit/runs.supervise?workername={worker}&ratelimit=1",
]  # fmt: skip


def test_nothing_can_be_changed(flower: Flower, podwire: Podwire, asking: str) -> None:
    task = next(name for name, each in json.loads(flower.ask("/api/tasks")[1]).items() if asking in str(each["args"]))
    names = {"worker": worker_of(flower), "task": task}
    assert {path: flower.ask(path.format(**names), method="POST")[0] for path in WRITES} == dict.fromkeys(WRITES, 403)
    podwire.must_run()


def test_every_path_that_writes_is_tried() -> None:
    from flower.api import control, tasks
    from flower.urls import handlers

    modules = {control.__name__, tasks.__name__}
    rules = [(rule[0], rule[1]) for rule in handlers if isinstance(rule, tuple)]
    writing = {path.split("(")[0] for path, handler in rules if handler.__module__ in modules and "post" in vars(handler)}
    assert writing == {path.split("{")[0].split("runs.")[0] for path in WRITES}


def test_prometheus_can_scrape_it(flower: Flower, asking: str) -> None:
    wait_until(lambda: "flower_worker_online" in flower.ask("/metrics", password=None)[1], "Flower had numbers")
    text = flower.ask("/metrics", password=None)[1]
    assert HOSTILE[:4] + "'" not in text and asking not in text
    scrape = parse(text)
    assert set(scrape.by("flower_worker_online", "worker").values()) == {1}
    assert scrape.by("flower_events_total", "type")["task-started"] >= 1
    documented = (ROOT / "docs" / "observability.md").read_text()
    # Beside each count stands when it began.
    own = {name for name in scrape.types if name.startswith("flower_") and not name.endswith("_created")}
    assert own and {name for name in own if name not in documented} == set()
