"""Who acts: a signed-in person, as every use case sees one. How they proved it is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import NotFound
from app.domain.runs.run import Run


class Role(StrEnum):
    """What a person may do: a user their own things, an admin everything."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Person:
    """A user of Podwire."""

    id: str
    name: str
    role: Role = Role.USER

    @property
    def is_admin(self) -> bool:
        """True for admins."""
        return self.role is Role.ADMIN

    def may_see(self, run: Run) -> bool:
        """Say whether the run is theirs to see and to steer."""
        return self.is_admin or run.owner_id == self.id


def visible(person: Person, run: Run | None) -> Run:
    """Return the run when the person may see it. Raises: NotFound otherwise, so that other people's runs do not show."""
    if run is None or not person.may_see(run):
        raise NotFound("There is no such run, or it is not yours.")
    return run
