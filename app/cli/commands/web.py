"""`podwire web`: becomes the web server."""

from __future__ import annotations

from app.cli.component_words import become, web_words
from app.cli.grammar import command
from app.cli.local_settings import local_settings


@command("web")
def web() -> int:
    """Run the web server in the foreground."""
    become(web_words(), local_settings())
