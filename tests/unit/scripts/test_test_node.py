"""A test node is taken down by whoever started it, and by nobody else; its tools are doubles here."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEFORE, AFTER = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
USE = 'set -e; started=$(scripts/test-node start); eval "$started"; echo "on $KUBECONFIG"; scripts/test-node stop'


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of tools that note how they were called."""
    for name in ("up", "down", "image"):
        program(tmp_path / name, f'echo "{name} $*" >> {tmp_path}/calls')
    with (tmp_path / "up").open("a") as up:
        up.write(f"echo 'export KUBECONFIG=/the/config PATH={tmp_path}/bin:$PATH'\n")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def use(tools: Path, script: str = USE, born: str = AFTER) -> subprocess.CompletedProcess[str]:
    """Run the script; the cluster says that it was born then. Images are built by a program that does nothing."""
    program(tools / "bin/kubectl", f"echo {born}")
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PODWIRE_TEST_NODE": str(tools), "PODWIRE_BUILDER": "true"}
    # The real ones may be built at this very moment.
    environment |= {"PODWIRE_TEST_ARCHIVES": str(tools / "archives")}
    return subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def packed(tools: Path, text: str) -> None:
    """Put a program into the tools' archive."""
    (tools / "kube.xz").write_bytes(lzma.compress(f"#!/bin/sh\n{text}\n".encode()))


def calls(tools: Path, *names: str) -> list[str]:
    noted = (tools / "calls").read_text().splitlines()
    return [line for line in noted if line.split()[0] in names]


def test_a_node_that_was_started_here_is_taken_down(tools: Path) -> None:
    done = use(tools)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "on /the/config\n"
    assert calls(tools, "up", "down") == ["up --nodes 2", "down "]


def test_a_node_that_was_up_before_stays(tools: Path) -> None:
    done = use(tools, born=BEFORE)
    assert (done.returncode, calls(tools, "up", "down")) == (0, ["up --nodes 2"])
    assert "stays" in done.stderr


@pytest.mark.parametrize(("born", "wanted"), [(AFTER, ["down "]), (BEFORE, [])])
def test_a_node_without_images_is_not_left_behind(tools: Path, born: str, wanted: list[str]) -> None:
    program(tools / "image", "exit 1")
    assert use(tools, born=born).returncode != 0
    assert calls(tools, "down") == wanted


def test_a_node_that_does_not_start_is_a_failure_and_nobody_is_taken_down(tools: Path) -> None:
    program(tools / "up", f"echo up >> {tools}/calls; exit 1")
    assert use(tools).returncode != 0
    assert calls(tools, "up", "down") == ["up"]


def test_a_stop_without_a_start_takes_nothing_down(tools: Path) -> None:
    (tools / "calls").touch()
    assert use(tools, "scripts/test-node stop").returncode == 0
    assert calls(tools, "down") == []


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """A copy of the script in a project of its own, so that it unpacks nothing into this one."""
    (tmp_path / "project/scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/test-node", tmp_path / "project/scripts/test-node")
    yield tmp_path / "project"


def test_helm_is_had_without_a_node(tools: Path, copy: Path) -> None:
    packed(tools, 'echo "$@"')
    script = f'cd {copy}; set -e; found=$(scripts/test-node tools); eval "$found"; helm lint "a b"'
    for answer in ("helm lint a b\n", "helm lint a b\n"):
        done = use(tools, script)
        assert (done.returncode, done.stdout) == (0, answer), done.stderr
    assert not (tools / "calls").exists()


@pytest.mark.parametrize("archive", [None, b"not packed", lzma.compress(b"#!/bin/sh\nexit 3\n")])
def test_tools_without_a_helm_that_runs_are_a_failure(tools: Path, copy: Path, archive: bytes | None) -> None:
    if archive is not None:
        (tools / "kube.xz").write_bytes(archive)
    done = use(tools, f"cd {copy}; scripts/test-node tools")
    assert (done.returncode, done.stdout) == (2, "")
