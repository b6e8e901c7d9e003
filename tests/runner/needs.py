"""Programs that suites need: whether they are there, and their Debian packages, installed where we may. Standard library only."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence


def _program(*names: str) -> Callable[[], bool]:
    return lambda: any(map(shutil.which, names))


# What to look for, and the package that brings it; helm comes otherwise (ground.py).
NEEDS: dict[str, tuple[Callable[[], bool], str]] = {
    "redis": (_program("redis-server", "valkey-server"), "redis-server"),
    "postgresql": (lambda: bool(shutil.which("initdb") or glob.glob("/usr/lib/postgresql/*/bin/initdb")), "postgresql"),
    "nodejs": (_program("node"), "nodejs"),
    "nginx": (_program("nginx", "/usr/sbin/nginx"), "nginx-light"),
    "chromium": (_program("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "prometheus": (_program("promtool"), "prometheus"),
}


def missing(names: Sequence[str]) -> list[str]:
    """Return those that are not there."""
    return [name for name in dict.fromkeys(names) if name in NEEDS and not NEEDS[name][0]()]


def install(names: Sequence[str]) -> list[str]:
    """Install what is not there, as root on Debian; return what is still missing then."""
    packages = [NEEDS[name][1] for name in missing(names)]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"scripts/test: installing {' '.join(packages)} ...", file=sys.stderr, flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        quiet = {"env": environment, "stdout": subprocess.DEVNULL}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            if subprocess.run(["apt-get", *words], **quiet).returncode:  # type: ignore[call-overload]
                print("scripts/test: apt-get failed", file=sys.stderr)
    return missing(names)
