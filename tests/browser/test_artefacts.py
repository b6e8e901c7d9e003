"""A run's page shows what its program left as soon as it has ended, and a browser saves it, whatever it pretends to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Seat

SCRIPT = """cd $PODWIRE_ARTEFACTS; ln -s /etc/passwd link
printf '<script>document.title="caught"</script>' > 'page <b>.html'
mkdir sub; seq 3 > sub/numbers.csv; ask --confirm Go? >/dev/null"""


def test_what_was_left_appears_with_the_end_and_is_saved_not_shown(seat: Seat) -> None:
    run = seat.client.submit(SCRIPT)
    page = seat.open(f"/runs/{run}")
    seat.client.wait_question(run)
    expect(page.locator("#part-artefacts a")).to_have_count(0)
    page.click("#part-questions button:has-text('Yes')")
    links = page.locator("#part-artefacts a")
    expect(links).to_have_text(["page <b>.html", "sub/numbers.csv"])
    expect(page.locator("#part-artefacts")).to_contain_text("2 files, 46 bytes; kept until")
    expect(page.locator("#part-artefacts")).to_contain_text("Not kept: 1 (symbolic links).")
    picture(seat, "artefacts")
    for index, (name, data) in enumerate((("page <b>.html", b"<script>"), ("numbers.csv", b"1\n2\n3\n"))):
        with page.expect_download() as saved:
            links.nth(index).click()
        assert saved.value.suggested_filename in (name, name.replace("<", "_").replace(">", "_"))
        assert Path(saved.value.path()).read_bytes().startswith(data)
    assert "caught" not in page.title() and seat.complaints == []


def test_an_artefact_that_is_opened_by_its_address_is_saved_too(seat: Seat) -> None:
    run = seat.client.submit("cd $PODWIRE_ARTEFACTS; echo '<script>alert(1)</script>' > x.html")
    seat.client.wait_end(run)
    with seat.page.expect_download() as saved, pytest.raises(Exception, match="Download is starting"):
        seat.open(f"/v1/runs/{run}/artefacts/x.html")
    assert saved.value.suggested_filename == "x.html" and seat.complaints == []


def picture(seat: Seat, name: str) -> None:
    """Keep what the page looks like, where somebody wants to look at it."""
    if folder := os.environ.get("PODWIRE_TEST_PICTURES"):
        seat.page.screenshot(path=f"{folder}/{name}.png", full_page=True)
