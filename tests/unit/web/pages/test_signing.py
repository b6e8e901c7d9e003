"""Signing in and out, and which requests of a browser are believed."""

from __future__ import annotations

import pytest

from app.service.accounts import first_login_link
from app.store.accounts.users import MAX_FAILURES
from app.web.auth import SESSION_COOKIE
from tests.unit.web.doubles import Site
from tests.unit.web.pages.browser import Browser


def test_a_pasted_token_opens_a_session(site: Site) -> None:
    browser = Browser(site)
    refused = browser.get("/new")
    assert refused.status_code == 303 and refused.location == "/sign-in?next=/new"
    answer = browser.send(refused.location, "/sign-in", token=f" {site.tokens['ann']} ")
    cookie = browser.client.get_cookie(SESSION_COOKIE)
    assert answer.location == "/new" and cookie is not None and cookie.http_only and cookie.same_site == "Lax"
    assert site.tokens["ann"] not in cookie.value
    assert browser.get("/").status_code == 200
    assert browser.send("/", "/sign-out").location == "/sign-in"
    assert browser.get("/").location == "/sign-in"


def test_a_session_that_was_closed_elsewhere_is_over(site: Site, ann: Browser) -> None:
    copied = ann.client.get_cookie(SESSION_COOKIE)
    other = Browser(site).sign_in("ann")
    other.send("/account", "/account/sign-out-everywhere")
    assert copied is not None and ann.get("/").location == "/sign-in"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\n/x"])
def test_signing_in_leads_nowhere_else(site: Site, target: str) -> None:
    answer = Browser(site).send("/sign-in", "/sign-in", token=site.tokens["ann"], next=target)
    assert answer.location == "/"


def test_guessing_is_slowed_down_for_the_address_only(site: Site) -> None:
    browser = Browser(site)
    for _ in range(MAX_FAILURES):
        assert browser.send("/sign-in", "/sign-in", token="pw_wrong").status_code == 401
    refused = browser.send("/sign-in", "/sign-in", token=site.tokens["ann"])
    assert refused.status_code == 429 and "Try again in" in refused.text
    elsewhere = Browser(site)
    elsewhere.client.environ_base["REMOTE_ADDR"] = "10.1.2.3"
    elsewhere.sign_in("ann")


def test_a_link_signs_in_once_and_survives_being_looked_at(site: Site) -> None:
    path = "/sign-in/link/" + site.services.store.users.create_login_link(site.people["ann"].id, 60)
    for headers in ({"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"Sec-Fetch-Site": "cross-site"}):
        shown = Browser(site).get(path, headers=headers)
        assert shown.status_code == 200 and f'action="{path}"' in shown.text
    assert Browser(site).client.head(path).status_code == 200
    browser = Browser(site)
    assert browser.get(path).location == "/" and "ann" in browser.get("/").text
    again = Browser(site).get(path)
    assert again.status_code == 401 and "used before" in again.text


def test_a_forged_form_changes_nothing(site: Site, ann: Browser) -> None:
    run = site.submit()["id"]
    for fields in ({}, {"csrf_token": ""}, {"csrf_token": "x" * 43}):
        assert ann.client.post(f"/runs/{run}/cancel", data=fields).status_code == 403
    assert ann.client.post("/v1/runs", json={"script": "x", "language": "bash"}).status_code == 403
    foreign = ann.client.post(f"/runs/{run}/cancel", headers={"X-CSRF-Token": _csrf(ann), "Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert site.client().get(f"/v1/runs/{run}").get_json()["status"] == "queued"
    good = ann.client.post(f"/runs/{run}/cancel", headers={"X-CSRF-Token": _csrf(ann), "Origin": "http://localhost"})
    assert good.status_code == 303
    assert site.client().get(f"/v1/runs/{run}").get_json()["status"] == "cancelled"


def test_a_token_needs_no_csrf_token_and_a_wrong_one_is_not_made_up_for_by_a_session(site: Site, ann: Browser) -> None:
    assert site.client().post("/v1/runs", json={"script": "x", "language": "bash"}).status_code == 201
    assert ann.get("/v1/me").status_code == 200
    for wrong in ("Bearer pw_wrong", "Bearer", "Basic eDp5", ""):
        assert ann.get("/v1/me", headers={"Authorization": wrong}).status_code == 401, wrong


def test_another_site_cannot_sign_a_browser_in(site: Site) -> None:
    answer = Browser(site).client.post("/sign-in", data={"token": site.tokens["ann"]}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and "Set-Cookie" not in answer.headers


def test_pages_forbid_what_they_do_not_need(ann: Browser) -> None:
    for path in ("/", "/new", "/sign-in", "/nowhere"):
        answer = ann.get(path, headers={"Accept": "text/html"})
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Frame-Options"] == "DENY" and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Referrer-Policy"] == "same-origin"
        assert "<style" not in answer.text and "style=" not in answer.text and "onclick" not in answer.text


def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_programs(site: Site) -> None:
    page = Browser(site).get("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 404 and page.mimetype == "text/html"
    for path in ("/nowhere", "/v1/nowhere"):
        assert Browser(site).get(path, headers={"Accept": "application/json"}).mimetype == "application/problem+json"


def _csrf(browser: Browser) -> str:
    text = browser.get("/").text
    return text.split('name="csrf-token" content="')[1].split('"')[0]


def test_the_first_admin_gets_a_link_until_an_admin_holds_a_key(site: Site) -> None:
    assert first_login_link(site.services) is None
    (token,) = site.services.store.users.list_tokens(site.people["root"].id)
    site.services.store.users.revoke(token.id)
    link = first_login_link(site.services)
    browser = Browser(site)
    assert browser.get(f"/sign-in/link/{link}").location == "/" and "root" in browser.get("/").text
    assert first_login_link(site.services) is None
