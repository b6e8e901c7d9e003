"""A real Chromium on a real Podwire of two replicas and a worker, behind one address without affinity."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.domain.person import Person
from app.store.accounts.users import UserStore
from app.store.engine import make_engine
from tests.browser.round_robin import RoundRobin
from tests.integration.client import Client
from tests.integration.cluster import Podwire
from tests.servers import Postgres, missing

# How long a page may take, on a machine that is busy with something else; Playwright's own is 5 s.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

_QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")
_ARGUMENTS = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in _QUIET)]


@dataclass
class Seat:
    """One person at one browser window."""

    page: Page
    url: str
    client: Client
    person: Person
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(self.url + path)
        return self.page

    def lines(self) -> list[str]:
        """Return the lines of output that the page shows."""
        return self.page.locator("#log .line").all_text_contents()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        missing("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def podwire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podwire]:
    server = Postgres()
    try:
        server.start()
        running = Podwire(server, web=2, workers=1, workspaces_dir=tmp_path_factory.mktemp("storage"))
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        server.remove()


@pytest.fixture
def door(podwire: Podwire) -> Iterator[RoundRobin]:
    """The address in front of the replicas."""
    proxy = RoundRobin([web.port for web in podwire.web])
    yield proxy
    proxy.close()
    podwire.must_run()


@pytest.fixture
def person(podwire: Podwire) -> Person:
    return podwire.person()


@pytest.fixture
def seat(chromium: Browser, podwire: Podwire, door: RoundRobin, person: Person) -> Iterator[Seat]:
    """A new person, signed in by a link, in a browser that notes every complaint."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield _sit(context, podwire, door, person)
    context.close()


@pytest.fixture
def plain_seat(chromium: Browser, podwire: Podwire, door: RoundRobin, person: Person) -> Iterator[Seat]:
    """The same without JavaScript."""
    context = chromium.new_context(java_script_enabled=False)
    yield _sit(context, podwire, door, person)
    context.close()


def _sit(context: BrowserContext, podwire: Podwire, door: RoundRobin, person: Person) -> Seat:
    engine = make_engine(podwire.database_url, pool_size=1)
    code = UserStore(engine).create_login_link(person.id, 60)
    engine.dispose()
    context.set_default_timeout(PATIENCE_MS)
    seat = Seat(context.new_page(), door.url, podwire.client_of(person), person)
    seat.page.on("console", lambda message: seat.complaints.append(message.text) if message.type == "error" else None)
    seat.page.on("pageerror", lambda error: seat.complaints.append(str(error)))
    seat.page.on("dialog", lambda dialog: seat.complaints.append(dialog.message))
    seat.open(f"/sign-in/link/{code}")
    return seat
