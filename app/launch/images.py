"""Which image a run uses, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from app.domain.errors import LaunchRefused
from app.domain.spec import RunSpec


def full_name(image: str) -> str:
    """Return the image's whole name, as a node understands it: `python:3.11` is `docker.io/library/python:3.11`."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    if "." in first or ":" in first or first == "localhost":
        return image
    return f"docker.io/{image}"


def choose(spec: RunSpec, by_language: Mapping[str, str], default: str, allowed: Sequence[str]) -> str:
    """Return the image of the spec: its own where it names one and may, else the one that is configured.

    `allowed` are patterns (`*` and `?`) for whole names; what is configured is always allowed. Raises: LaunchRefused.
    """
    if spec.image:
        configured = {full_name(image) for image in (*by_language.values(), default) if image}
        name = full_name(spec.image)
        patterns = {name for pattern in allowed for name in (pattern, full_name(pattern))}
        if name not in configured and not any(fnmatchcase(name, pattern) for pattern in patterns):
            raise LaunchRefused(f"The image {spec.image[:200]!r} is not among those that may be used here.", reason="InvalidSpec")
        return spec.image
    image = by_language.get(spec.language or "", default)
    if not image:
        raise LaunchRefused("Name an image: there is none for this language or command by default.", reason="InvalidSpec")
    return image
