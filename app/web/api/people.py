"""Who is asking."""

from __future__ import annotations

from flask import Blueprint, Response
from pydantic import BaseModel

from app.domain.person import Person
from app.web import parsing
from app.web.api.answers import answer
from app.web.api.shapes import NoQuery
from app.web.auth import current_person

bp = Blueprint("people", __name__)


class PersonResource(BaseModel):
    """Who you are."""

    id: str
    name: str
    role: str


@bp.get("/v1/me")
def show_me() -> Response:
    """Show who I am."""
    parsing.query(NoQuery)
    return answer(person_resource(current_person()))


def person_resource(person: Person) -> PersonResource:
    """Return the person."""
    return PersonResource(id=person.id, name=person.name, role=person.role.value)
