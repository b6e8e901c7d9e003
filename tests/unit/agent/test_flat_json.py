"""JSON without the json package: the same as with it, and without it where it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.agent.questions import flat_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_what_is_written_reads_back(body: dict[str, object]) -> None:
    assert json.loads(flat_json.dumps(body)) == body


@given(st.integers(0, 2**60) | VALUES)
def test_what_is_read_is_what_the_package_reads(start: object) -> None:
    data = json.dumps({"from": start}).encode()
    assert flat_json.loads(data) == json.loads(data)


def test_what_is_no_json_is_refused_as_by_the_package() -> None:
    for data in (b'{"from": }', b'{"from": 01}', b'{"from": 1', b'{"from": -}', b"\xff", b""):
        try:
            flat_json.loads(data)
        except ValueError:
            continue
        raise AssertionError(data)


def test_the_agent_is_up_without_the_json_package() -> None:
    root = Path(__file__).resolve().parents[3]
    path = f"import sys; sys.path.insert(0, {str(root)!r}); import app.agent.main_loop"
    code = f"{path}; print('json' in sys.modules, 're' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
