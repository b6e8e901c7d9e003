"""How tests are spread over the processes of pytest-xdist: what shares a costly fixture stays together, long tests come first.

Every process has servers, databases and namespaces of its own, so tests of two processes never meet, but on the cluster's nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

# Session fixtures that only one process should set up, for the tests of one module.
COSTLY = {"small"}
# What takes longest, longest first: begun late, it would be waited for at the end.
LONG_FIRST = (
    "test_install",
    "test_outcomes",
    "test_kept_pods",
    "test_service",
    "test_doctor",
    "test_runs",
    "test_kill",
    "test_recovery",
    "test_artefacts",
    "test_proxy",
    "test_live_run",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: rank(item.path.stem, LONG_FIRST))


def group_of(item: pytest.Item) -> str | None:
    """Return the name of those with which the test must stay in one process; a marker of its own goes first."""
    if item.get_closest_marker("xdist_group"):
        return None
    found = getattr(item, "_fixtureinfo", None)
    scopes = {name: each[-1].scope for name, each in found.name2fixturedefs.items()} if found else {}
    return item.path.stem if stays(scopes) else None


def stays(scopes: Mapping[str, str]) -> bool:
    """Say by the scopes of its fixtures whether a test must stay with the others of its module."""
    return any(scope in ("class", "module") or name in COSTLY for name, scope in scopes.items())


def rank(name: str, first: Sequence[str]) -> int:
    """Return the place in the order of those that come first; all others share the last."""
    return first.index(name) if name in first else len(first)
