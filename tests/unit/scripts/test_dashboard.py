"""The dashboard has every number of the service: whoever adds one says in scripts/dashboard how it is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from app.domain.metrics import METRICS

ROOT = Path(__file__).resolve().parents[3]


def test_every_number_of_the_service_is_on_the_dashboard() -> None:
    panels = json.loads((ROOT / "helm" / "dashboards" / "podwire.json").read_text())["panels"]
    asked = " ".join(target["expr"] for panel in panels for target in panel.get("targets", []))
    assert [metric.name for metric in METRICS if f"{metric.name}{{" not in asked and f"{metric.name}_bucket{{" not in asked] == []


def test_it_is_current() -> None:
    words = [sys.executable, str(ROOT / "scripts" / "dashboard"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
