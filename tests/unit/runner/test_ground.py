"""Which cluster tests run on: never another than the one that was named, and none by chance."""

from __future__ import annotations

import pytest

from tests.runner.ground import TOOLS, Choice, choose

GIVEN = {"KUBECONFIG": "/somewhere"}


@pytest.mark.parametrize(
    ("environ", "everything", "tools_here", "chosen"),
    [
        ({}, True, True, Choice(TOOLS)),
        ({}, True, False, Choice()),
        ({}, False, True, Choice(TOOLS)),
        (GIVEN, True, True, Choice(TOOLS)),
        (GIVEN, True, False, Choice()),
        (GIVEN, False, True, Choice(given=True)),
        (GIVEN, False, False, Choice(given=True)),
        ({"PODWIRE_TEST_NODE": "/tools"}, True, False, Choice("/tools", named=True)),
        ({"PODWIRE_TEST_NODE": "/tools", **GIVEN}, False, True, Choice("/tools", named=True)),
        ({"PODWIRE_TEST_NODE": ""}, True, True, Choice()),
        ({"PODWIRE_TEST_NODE": "", **GIVEN}, False, True, Choice(given=True)),
    ],
)
def test_the_choice(environ: dict[str, str], everything: bool, tools_here: bool, chosen: Choice) -> None:
    assert choose(environ, everything, tools_here) == chosen
