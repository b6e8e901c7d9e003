"""The image that an attempt is launched with. Pure; the rule is the domain's."""

from __future__ import annotations

from app.domain.errors import LaunchRefused
from app.domain.runs.images import ImageRules
from app.domain.runs.spec import RunSpec


def choose(spec: RunSpec, rules: ImageRules) -> str:
    """Return the image of the spec.

    It was checked when the run was submitted, but what is configured may have changed since. Raises: LaunchRefused.
    """
    if fault := rules.fault(spec.image, spec.language):
        raise LaunchRefused(f"The run's image {fault.message}.", reason="InvalidSpec")
    return rules.choose(spec.image, spec.language)
