"""A run's page in a real browser: live output, questions, input, lost connections, hostile and long output."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Seat
from tests.browser.round_robin import RoundRobin
from tests.integration.cluster import Podwire
from tests.servers import wait_until

STORY = r"""
for n in 10 20 30; do printf '\r\033[32mLoading\033[0m %s %%' $n; done; echo
echo careful >&2
colour=$(ask --choice red --choice blue 'Which colour?')
echo "colour $colour"
"""


def test_the_whole_story_on_one_page(seat: Seat) -> None:
    page = seat.open("/new")
    page.select_option("#language", "bash")
    page.fill("#script", STORY)
    page.click("text=Run it")
    page.click("button:has-text('blue')")
    expect(page.locator(".question")).to_contain_text(f"Answered by {seat.person.name}: blue")
    expect(page.locator("#part-head .badge")).to_have_text("succeeded")
    expect(page.locator("#part-says")).to_contain_text("Completed.")
    expect(page.locator("#connection")).to_have_text("")
    assert sorted(seat.lines()) == ["Loading 30 %", "careful", "colour blue"]
    expect(page.locator("#log .f2")).to_have_text("Loading")
    expect(page.locator("#log .err")).to_have_text("careful")
    assert "succeeded" in page.title() and page.locator("#part-actions form").count() == 0
    assert seat.complaints == []


@pytest.mark.trap("S3")
@pytest.mark.trap("S13")
@pytest.mark.trap("D11")
def test_no_line_is_lost_or_doubled_over_cut_connections_and_a_replica_s_end(
    seat: Seat, podwire: Podwire, door: RoundRobin
) -> None:
    run = seat.client.submit("for n in $(seq 1 400); do echo line $n; sleep 0.01; done")
    page = seat.open(f"/runs/{run}")
    expect(page.locator("#log")).to_contain_text("line 40")
    assert door.cut() > 0
    expect(page.locator("#log")).to_contain_text("line 120")
    for web in podwire.web:
        web.stop()
        web.start()
        wait_until(web.ready, f"{web.name} was ready again")
    expect(page.locator("#part-head .badge")).to_have_text("succeeded")
    expect(page.locator("#log")).to_contain_text("line 400")
    assert seat.lines() == [f"line {n}" for n in range(1, 401)]


def test_what_is_typed_survives_what_happens_meanwhile(seat: Seat) -> None:
    script = "read -r go; echo got $go; ask --timeout 300 'First?'; ask 'Second?'"
    run = seat.client.submit(script, stdin=True)
    page = seat.open(f"/runs/{run}")
    expect(page.locator("#connection")).to_have_text("live")
    page.fill("#input", "now")
    page.press("#input", "Enter")
    expect(page.locator("#log")).to_contain_text("got now")
    expect(page.locator("#input")).to_have_value("")
    answer = page.locator(".question.open input[name=value]")
    answer.fill("half-way thr")
    page.fill("#input", "more")
    page.press("#input", "Enter")
    expect(page.locator("#input")).to_have_value("")
    expect(answer).to_have_value("half-way thr")
    answer.press("Enter")
    expect(page.locator(".question").nth(1)).to_contain_text("Second?")
    page.click("text=Cancel the run")
    expect(page.locator("#part-head .badge")).to_have_text("cancelled")
    expect(page.locator(".question").nth(1)).to_contain_text("The run ended before this was answered.")
    expect(page.locator("#stdin")).to_have_count(0)
    assert seat.complaints == []


@pytest.mark.trap("Q8")
def test_output_and_questions_never_become_markup(seat: Seat) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    run = seat.client.submit(f"printf '%s\\n' '{hostile}'; ask --choice '{hostile}' --choice b '{hostile}'")
    page = seat.open(f"/runs/{run}")
    expect(page.locator(".question button").first).to_have_text(hostile)
    expect(page.locator("#log")).to_contain_text(hostile)
    assert page.locator("#log img, .question img, #log script, .question script").count() == 0
    page.locator(".question button").first.click()
    expect(page.locator("#part-head .badge")).to_have_text("succeeded")
    assert seat.lines()[0] == hostile and seat.complaints == []


def test_a_log_of_100_000_lines_stays_quick(seat: Seat) -> None:
    run = seat.client.submit("seq 1 100000")
    seat.client.wait_status(run, "succeeded")
    page = seat.open(f"/runs/{run}")
    expect(page.locator("#log .line").last).to_have_text("100000")
    expect(page.locator("#dropped")).to_contain_text("lines are not shown here")
    kept = page.locator("#log .line").count()
    assert 9_900 <= kept < 10_600
    assert seat.lines()[-3:] == ["99998", "99999", "100000"]
    expect(page.locator("#log .line").last).to_be_in_viewport()
    page.locator("#log").press("PageUp")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")


def test_everything_works_without_javascript(plain_seat: Seat) -> None:
    page = plain_seat.open("/new")
    page.select_option("#language", "bash")
    page.fill("#script", "echo begin; echo hello $(ask 'Name?')")
    page.click("text=Run it")
    path = page.url.removeprefix(plain_seat.url)
    plain_seat.client.wait_status(path.rsplit("/", 1)[-1], "waiting")
    plain_seat.open(path)
    page.fill(".question input[name=value]", "Ann")
    page.click(".question button")
    assert page.url == plain_seat.url + path
    plain_seat.client.wait_status(path.rsplit("/", 1)[-1], "succeeded")
    plain_seat.open(path)
    expect(page.locator("#log pre")).to_have_text("begin\nhello Ann\n")
    expect(page.locator(".question")).to_contain_text("Answered")


def test_on_a_phone_every_part_of_a_run_in_the_list_can_be_seen(seat: Seat) -> None:
    seat.client.submit("echo " + "a-very-long-title" * 30)
    seat.page.set_viewport_size({"width": 390, "height": 844})
    page = seat.open("/")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    wide = "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth).map(node => node.className)"
    assert page.locator(".card").evaluate_all(wide) == []
