"""A run's page shows what the run uses, renewed while somebody looks, and its evidence once it has ended."""

from __future__ import annotations

import os
import re

from playwright.sync_api import expect

from tests.browser.conftest import Seat

GREEDY = """
import time
data = b""
while True:
    data += b"x" * (20 * 1024 * 1024) if len(data) < 100 * 1024 * 1024 else b""
    sum(range(200_000))
    time.sleep(0.02)
"""
# Room for a machine that is busy with other tests.


def test_use_is_renewed_and_gives_way_to_evidence(seat: Seat) -> None:
    run = seat.client.submit(GREEDY, "python", memory="512Mi", cpu=1)
    page = seat.open(f"/runs/{run}")
    use = page.locator("#part-use")
    expect(use).to_contain_text(re.compile(r"Memory \d+(\.\d)? MiB of 512 MiB, at most"))
    expect(use).to_contain_text(re.compile(r"CPU \d+\.\d\d of 1 core,"))
    expect(use.locator("progress")).to_have_attribute("max", str(512 * 1024**2))
    before = use.inner_text()
    expect(use).not_to_have_text(before)
    picture(seat, "running")
    page.click("text=Cancel the run")
    expect(page.locator("#part-head .badge")).to_have_text("cancelled")
    expect(use).to_contain_text(
        re.compile(r"Peak memory [12]\d\d MiB of 512 MiB \(\d+ %\), .* CPU; waited .*, started in .*, ran ")
    )
    expect(use.locator("progress")).to_have_count(0)
    picture(seat, "ended")
    assert seat.complaints == []


def picture(seat: Seat, name: str) -> None:
    """Keep what the page looks like, where somebody wants to look at it."""
    if folder := os.environ.get("PODWIRE_TEST_PICTURES"):
        seat.page.screenshot(path=f"{folder}/use-{name}.png", full_page=True)
