"""A browser without JavaScript: it keeps cookies, and sends forms with what their hidden fields hold."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from werkzeug.test import TestResponse

from tests.unit.web.doubles import Site

_EMPTY = {"input", "meta", "link", "img", "br"}


class Forms(HTMLParser):
    """Collects the forms of a page: action -> what is sent when nobody touches it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] | None = None
        self._area: str | None = None
        self._select: str | None = None
        self._option = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "form":
            self._fields = self.found.setdefault(given.get("action") or "", {})
        elif self._fields is None:
            return
        elif tag == "input" and name:
            if given.get("type") not in ("checkbox", "radio", "file") or "checked" in given:
                self._fields[name] = given.get("value") or ""
        elif tag == "textarea":
            self._area = name
            self._fields[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            # Without a selected option, the first one counts.
            self._option = "selected" in given or self._select not in self._fields
            if self._option and "value" in given:
                self._fields[self._select], self._option = given["value"] or "", False

    def handle_data(self, data: str) -> None:
        if self._option and self._select and self._fields is not None:
            self._fields[self._select], self._option = data, False
        if self._area is not None and self._fields is not None:
            # The first line break after <textarea> does not count.
            self._fields[self._area] += data if self._fields[self._area] else data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None
        elif tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None


class Browser:
    """One browser on a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = site.app.test_client()

    def sign_in(self, name: str) -> Browser:
        answer = self.send("/sign-in", "/sign-in", token=self.site.tokens[name])
        if answer.status_code != 303:
            raise AssertionError(answer.text)
        return self

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, **options)

    def send(self, page: str, action: str, **fields: Any) -> TestResponse:
        """Open the page and send its form `action`, with some fields changed; None leaves a field out."""
        forms = Forms(self.get(page).text).found
        filled = {**forms[action], **fields}
        return self.client.post(action, data={name: value for name, value in filled.items() if value is not None})
