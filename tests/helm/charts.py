"""Renders the chart, once for each set of values, and finds objects in what came out."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.servers import missing

ROOT = Path(__file__).resolve().parents[2]
HELM = ROOT / "helm"
MINIMUM = HELM / "ci" / "default-values.yaml"

Values = dict[str, Any]
Objects = list[dict[str, Any]]


class Refused(Exception):
    """Helm did not render; its message."""


def nested(values: Values) -> Values:
    """Return values whose keys are paths as maps in maps: {"app.replicaCount": 2}."""
    out: Values = {}
    for path, value in values.items():
        *folders, last = path.split(".")
        place = out
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return out


def render(values: Values | None = None, files: tuple[Path, ...] = (MINIMUM,), upgrade: bool = False) -> Objects:
    """Return the objects of the chart with values by their paths. Raises: Refused."""
    return list(yaml.safe_load(_rendered(json.dumps(nested(values or {})), files, upgrade)))


@functools.cache
def _rendered(values: str, files: tuple[Path, ...], upgrade: bool) -> str:
    chosen = [word for file in files for word in ("-f", str(file))]
    words = [
        binary(),
        "template",
        "shop",
        str(HELM),
        "--namespace",
        "podwire",
        *chosen,
        "-f",
        "-",
        *(["--is-upgrade"] if upgrade else []),
    ]
    done = subprocess.run(words, input=values, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Refused(done.stderr)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return json.dumps([one for one in yaml.load_all(done.stdout, loader) if one])


def binary() -> str:
    """Return the helm to use, or skip the test."""
    found = shutil.which("helm")
    if found is None:
        missing("helm")
    return found


def one(objects: Objects, kind: str, ending: str = "") -> dict[str, Any]:
    """Return the only object of a kind whose name ends so."""
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(ending)]
    return found


def web(values: Values | None = None, files: tuple[Path, ...] = (MINIMUM,)) -> dict[str, Any]:
    """Return the spec of the web Deployment."""
    return dict(one(render(values, files), "Deployment", "-web")["spec"])
