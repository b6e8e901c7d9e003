"""The shape of a list of artefacts, and how it is made from the domain's values. Nothing is looked up here."""

from __future__ import annotations

from urllib.parse import quote

from flask import url_for
from pydantic import BaseModel

from app.domain.runs.artefacts import Artefact
from app.service.artefacts import Listing
from app.web.api.resources import Time


class ArtefactResource(BaseModel):
    """One file that a run left."""

    name: str
    size_bytes: int
    modified_at: Time
    url: str


class ArtefactPage(BaseModel):
    """What an attempt of a run left. `state` is none (nothing is known, or it has not ended), collecting, kept or lost.

    `left_out` files were not kept; `message` says why.
    """

    items: list[ArtefactResource]
    next: str | None
    state: str
    attempt: int | None
    attempts: list[int]
    files: int
    size_bytes: int
    left_out: int
    message: str | None
    kept_until: Time | None


def artefact_page(found: Listing, shown: list[Artefact], following: str | None) -> ArtefactPage:
    """Return the page that shows these files of what was found; `following` is the address of the next one."""
    holding = found.holding
    return ArtefactPage(
        items=[_resource(found, file) for file in shown],
        next=following,
        state=holding.state.value if holding else "none",
        attempt=holding.attempt if holding else None,
        attempts=list(found.attempts),
        files=holding.files if holding else 0,
        size_bytes=holding.size_bytes if holding else 0,
        left_out=holding.left_out if holding else 0,
        message=(holding.message if holding else "") or None,
        kept_until=found.kept_until if holding and holding.files else None,
    )


def _resource(found: Listing, file: Artefact) -> ArtefactResource:
    return ArtefactResource(name=file.name, size_bytes=file.size_bytes, modified_at=file.modified_at, url=address(found, file))


def address(found: Listing, file: Artefact) -> str:
    """Return where a listed file is downloaded, for whatever name it has."""
    attempt = found.holding.attempt if found.holding else 1
    path = url_for("artefacts.list_artefacts", run_id=found.run.id) + "/" + quote(file.name, safe="/")
    return f"{path}?attempt={attempt}"
