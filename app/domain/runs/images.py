"""Which image a run gets, and whether it may name its own. The same rule refuses a submission and, later, a launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from app.domain.errors import FieldError


def full_name(image: str) -> str:
    """Return the image's whole name, as a node understands it: `python:3.11` is `docker.io/library/python:3.11`."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    if "." in first or ":" in first or first == "localhost":
        return image
    return f"docker.io/{image}"


@dataclass(frozen=True, slots=True)
class ImageRules:
    """The images that are configured, and patterns (`*` and `?`) for whole names of those that runs may name besides."""

    by_language: Mapping[str, str] = field(default_factory=dict)
    default: str = ""
    allowed: tuple[str, ...] = ()

    @property
    def offer(self) -> tuple[str, ...]:
        """The names and patterns of all images that a run may name; those that are configured always are among them."""
        return tuple(dict.fromkeys((*self._configured(), *self.allowed)))

    def choose(self, image: str | None, language: str | None) -> str:
        """Return the image to use; empty when there is none."""
        return image or self.by_language.get(language or "") or self.default

    def fault(self, image: str | None, language: str | None) -> FieldError | None:
        """Return what is wrong with the image that a run names, or with naming none; None when it can run."""
        if not self.choose(image, language):
            what = f"the language {language[:64]!r}" if language else "commands"
            return FieldError("image", f"is needed: there is none for {what} by default")
        if image and not self._allows(full_name(image)):
            return FieldError(
                "image", f"{image[:200]!r} is not among those that may be used here: {', '.join(self.offer) or 'none'}"
            )
        return None

    def _allows(self, name: str) -> bool:
        patterns = {form for pattern in self.allowed for form in (pattern, full_name(pattern))}
        return name in map(full_name, self._configured()) or any(fnmatchcase(name, pattern) for pattern in patterns)

    def _configured(self) -> list[str]:
        return [image for image in (*self.by_language.values(), self.default) if image]
