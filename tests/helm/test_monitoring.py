"""Alerts and the dashboard: they ask for numbers that exist, fire when they should and not otherwise, and are documented."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.exposition import documented
from tests.helm.charts import ROOT, one, render
from tests.servers import missing

ON = {"metrics.prometheusRule.enabled": True, "metrics.dashboard.enabled": True}
HERE = 'namespace="podwire"'
UNITS = {"short", "s", "percentunit", "Bps"}
# What a service shows that is well; each replica reports the same.
WELL = {
    'podwire_processes{kind="worker"': "2x40",
    "podwire_live_degraded{": "0x40",
    'podwire_queue_oldest_wait_seconds{priority="normal"': "3x40",
    'podwire_queue_oldest_wait_seconds{priority="background"': "9999x40",
    "podwire_supervised_runs{": "3x40",
    "podwire_worker_slots{": "128x40",
    "podwire_takeovers_total{": "3+0x40",
    'podwire_refusals_total{code="queue_full"': "7+0x40",
    'podwire_refusals_total{code="not_found"': "0+9x40",
    'podwire_ended_runs_total{status="failed",reason="NonZeroExit"': "0+9x40",
    'podwire_ended_runs_total{status="failed",reason="ImagePullFailed"': "1+0x40",
    'podwire_tick_failures_total{work="dispatch"': "3+0x40",
}
# What makes each alert fire, in place of that.
ILL: dict[str, dict[str, str | None]] = {
    "PodwireNoWorkers": {'podwire_processes{kind="worker"': "0x40"},
    "PodwireGone": dict.fromkeys(WELL),
    "PodwireRedisAway": {"podwire_live_degraded{": "1x40"},
    "PodwireQueueWaits": {'podwire_queue_oldest_wait_seconds{priority="normal"': "1801x40"},
    "PodwireQueueFull": {'podwire_refusals_total{code="queue_full"': "7x20 8x20"},
    "PodwireWorkersFull": {"podwire_supervised_runs{": "120x40"},
    "PodwireTakeovers": {"podwire_takeovers_total{": "3+1x40"},
    "PodwireRunsDoNotStart": {'podwire_ended_runs_total{status="failed",reason="ImagePullFailed"': "1+1x40"},
    "PodwireWorkFails": {'podwire_tick_failures_total{work="dispatch"': "3+2x40"},
}


def rules() -> list[dict[str, Any]]:
    """Return the alerts of the chart."""
    groups = one(render(ON), "PrometheusRule")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Return the dashboard, as Grafana gets it."""
    found: dict[str, Any] = json.loads(one(render(ON), "ConfigMap", "-dashboard")["data"]["podwire.json"])
    return found


def graphs() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return every expression that is asked of Prometheus."""
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in graphs() for target in panel["targets"]]


@pytest.mark.trap("M4")
def test_every_number_that_is_asked_for_is_exported() -> None:
    # The reference is tested against a scrape.
    known = set()
    for name, kind in documented().items():
        known |= {name + ending for ending in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    for expression in expressions():
        asked = set(re.findall(r"podwire_\w+", expression))
        assert asked and asked <= known, expression


@pytest.mark.trap("M3")
def test_labels_and_values_that_are_asked_for_exist() -> None:
    from app.domain.metrics import METRICS

    sets = {metric.name: dict(zip(metric.labels, metric.sets, strict=True)) for metric in METRICS}
    found = 0
    for expression in expressions():
        for name, inside in re.findall(r"(podwire_\w+?)(?:_bucket)?\{([^}]*)\}", expression):
            assert 'namespace="' in inside, expression
            for label, values in re.findall(r'(\w+)(?:=~|!=|=)"([^"]*)"', inside):
                if label != "namespace":
                    found += 1
                    assert set(values.split("|")) <= set(sets[name][label]), expression
    assert found > 5


def test_the_dashboard_is_current_and_each_graph_says_what_it_shows() -> None:
    words = [sys.executable, str(ROOT / "scripts" / "dashboard"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = dashboard()
    assert len(graphs()) > 12 and len({panel["id"] for panel in shown["panels"]}) == len(shown["panels"])
    assert {each["name"] for each in shown["templating"]["list"]} == {"datasource", "namespace"}
    for panel in graphs():
        assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert all(target["legendFormat"] for target in panel["targets"])
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_the_sidecar_finds_the_dashboard_only_where_it_is_wanted() -> None:
    labels = {"metrics.dashboard.labels": {"grafana_dashboard": None, "mine": "yes"}, "metrics.dashboard.annotations": {"f": "x"}}
    found = one(render({**ON, **labels}), "ConfigMap", "-dashboard")["metadata"]
    assert found["labels"]["mine"] == "yes" and "grafana_dashboard" not in found["labels"] and found["annotations"] == {"f": "x"}
    assert one(render(ON), "ConfigMap", "-dashboard")["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert not [o for o in render() if o["kind"] in ("ConfigMap", "PrometheusRule")]


def test_every_alert_is_documented_and_tried() -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    rows = dict(re.findall(r"^\| `(Podwire\w+)` \| (.+ \| .+) \|$", text, flags=re.MULTILINE))
    names = [rule["alert"] for rule in rules()]
    assert set(rows) == set(names) == set(ILL) and len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["summary"].endswith(".")


def promtool(folder: Path, *words: str) -> None:
    """Run promtool and fail with what it says."""
    program = shutil.which("promtool") or missing("promtool (Debian: prometheus)")
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def case(well: dict[str, str | None], firing: str = "") -> dict[str, Any]:
    """Return a test of promtool: these numbers, told by two replicas, and the only alert that may fire on them."""
    told = [(name, values) for name, values in well.items() if values is not None]
    series = [
        {"series": f'{name}{"" if name.endswith("{") else ","}{HERE},pod="{pod}"}}', "values": values}
        for name, values in told
        for pod in "ab"
    ]
    checks = []
    for rule in rules():
        labels = {**rule["labels"], **({"namespace": "podwire"} if rule["expr"].startswith("absent") else {})}
        expected = [{"exp_labels": labels, "exp_annotations": rule["annotations"]}] if rule["alert"] == firing else []
        checks.append({"eval_time": "25m", "alertname": rule["alert"], "exp_alerts": expected})
    return {"name": firing or "well", "interval": "1m", "input_series": series, "alert_rule_test": checks}


def test_each_alert_fires_when_it_should_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(one(render(ON), "PrometheusRule")["spec"]))
    promtool(tmp_path, "check", "rules", "--lint-fatal", "rules.yml")
    cases = [case({**WELL}), *(case({**WELL, **ill}, alert) for alert, ill in ILL.items())]
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": cases})
    )
    promtool(tmp_path, "test", "rules", "tests.yml")


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    written = [target["expr"] for panel in graphs() for target in panel["targets"]]
    asked = [{"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "5m")} for number, text in enumerate(written)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}))
    promtool(tmp_path, "check", "rules", "panels.yml")
