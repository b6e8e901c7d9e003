"""The pages for people: server-rendered, usable without JavaScript, strict about what a page may load."""

from __future__ import annotations

from flask import Flask

from app.web.pages import account, actions, admin, limits, listing, questions, run, signing, site, submission

__all__ = ["account", "actions", "admin", "limits", "listing", "questions", "register", "run", "signing", "submission"]


def register(app: Flask) -> None:
    """Add every page to the application. Call it after errors.register and auth.register."""
    app.register_blueprint(site.pages)
    site.show_missing_pages(app)
