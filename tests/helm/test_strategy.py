"""How the web pods are replaced, over every combination of what decides it; what is refused; preStop and grace."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.helm.charts import MINIMUM, Refused, one, render, web

PREVIOUS = Path(__file__).with_name("previous-values.yaml")
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
RECREATE = {"type": "Recreate", "rollingUpdate": None}
MODES: list[list[str] | None] = [
    None, [], ["ReadWriteOnce"], ["ReadWriteMany"], ["ReadWriteOnce", "ReadWriteMany"], ["ReadWriteOncePod"], ["ReadOnlyMany"],
]  # fmt: skip
MATRIX = [
    {"app.allowMultiReplica": flag, "app.workspaces.enabled": enabled, "app.workspaces.accessModes": modes}
    for flag, enabled, modes in itertools.product([True, False], [True, False], MODES)
]


def name_of(case: dict[str, Any]) -> str:
    return "-".join(str(value) for value in case.values())


def safe(case: dict[str, Any]) -> bool:
    """The rule, said once more and in other words."""
    flag, enabled, modes = case.values()
    shared = modes is not None and modes.count("ReadWriteMany") == 1
    return bool(flag) and (shared or not enabled)


@pytest.mark.trap("D2")
@pytest.mark.trap("D3")
@pytest.mark.trap("D6")
@pytest.mark.parametrize("case", MATRIX, ids=name_of)
def test_one_replica_rolls_where_two_pods_are_safe(case: dict[str, Any]) -> None:
    assert web(case | {"app.replicaCount": 1})["strategy"] == (ROLLING if safe(case) else RECREATE)


@pytest.mark.trap("D7")
@pytest.mark.parametrize("case", MATRIX, ids=name_of)
def test_two_replicas_are_refused_where_they_are_unsafe(case: dict[str, Any]) -> None:
    wanted = case | {"app.replicaCount": 2}
    if safe(case):
        spec = web(wanted)
        assert (spec["replicas"], spec["strategy"]) == (2, ROLLING)
        return
    with pytest.raises(Refused) as refused:
        web(wanted)
    other = "app.workspaces.accessModes" if case["app.allowMultiReplica"] else "app.allowMultiReplica"
    assert "app.replicaCount" in str(refused.value) and other in str(refused.value)


@pytest.mark.trap("D7")
def test_the_most_that_the_autoscaler_may_make_count_too() -> None:
    with pytest.raises(Refused, match=r"app\.autoscaling\.maxReplicas .* app\.allowMultiReplica"):
        web({"app.allowMultiReplica": False, "app.replicaCount": 1, "app.autoscaling.enabled": True})
    assert "replicas" not in web({"app.autoscaling.enabled": True})


@pytest.mark.trap("D1")
@pytest.mark.parametrize("case", MATRIX[::3], ids=name_of)
@pytest.mark.parametrize(
    "strategy", [{"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": "50%"}}]
)
def test_a_strategy_that_is_given_stays_as_it_is(case: dict[str, Any], strategy: dict[str, Any]) -> None:
    assert web(case | {"app.strategy": strategy})["strategy"] == strategy


@pytest.mark.trap("D4")
@pytest.mark.trap("D5")
def test_defaults_roll_with_whole_numbers() -> None:
    spec = web()
    assert (spec["replicas"], spec["strategy"]) == (2, ROLLING)
    assert [type(number) for number in spec["strategy"]["rollingUpdate"].values()] == [int, int]
    off = web({"app.allowMultiReplica": False})
    assert (off["replicas"], off["strategy"]) == (1, RECREATE)


@pytest.mark.trap("D5")
def test_the_values_of_the_first_release_still_mean_the_same() -> None:
    spec = web(files=(PREVIOUS,))
    assert (spec["replicas"], spec["strategy"]) == (1, RECREATE)
    objects = render(files=(PREVIOUS,), upgrade=True)
    assert one(objects, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.trap("D15")
def test_the_documented_recipe() -> None:
    recipe = {
        "app.allowMultiReplica": True, "app.workspaces.enabled": True, "app.workspaces.accessModes": ["ReadWriteMany"],
        "app.workspaces.storageClass": "shared", "app.replicaCount": 2, "app.preStopDelaySeconds": 15,
    }  # fmt: skip
    spec = web(recipe)
    assert (spec["replicas"], spec["strategy"], seconds_of(spec)) == (2, ROLLING, 15)
    (claim,) = [o for o in render(recipe) if o["kind"] == "PersistentVolumeClaim"]
    assert (claim["spec"]["accessModes"], claim["spec"]["storageClassName"]) == (["ReadWriteMany"], "shared")
    assert not [o for o in render(recipe) if o["kind"] in ("StorageClass", "PersistentVolume")]
    (plain,) = [o for o in render({"app.workspaces.enabled": True}) if o["kind"] == "PersistentVolumeClaim"]
    assert "storageClassName" not in plain["spec"]


def seconds_of(spec: dict[str, Any]) -> int | None:
    (container,) = spec["template"]["spec"]["containers"]
    if "lifecycle" not in container:
        return None
    word, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    return int(seconds)


@pytest.mark.trap("D8")
@pytest.mark.parametrize("flag", [True, False])
def test_the_delay_before_stopping(flag: bool) -> None:
    assert seconds_of(web({"app.allowMultiReplica": flag})) is None
    assert seconds_of(web({"app.allowMultiReplica": flag, "app.preStopDelaySeconds": 15})) == 15


@pytest.mark.trap("D9")
@pytest.mark.parametrize(
    ("delay", "drain_s", "grace", "accepted"),
    [
        (60, 5, 45, False),
        (60, 5, 80, False),
        (60, 5, 81, True),
        (0, 5, 20, False),
        (0, 5, 21, True),
        (0, 60, 60, False),
        (0, 60, 76, True),
    ],
)
def test_grace_is_more_than_the_delay_and_the_time_to_stop(delay: int, drain_s: int, grace: int, accepted: bool) -> None:
    values = {"app.preStopDelaySeconds": delay, "settings.drain_s": drain_s, "app.terminationGracePeriodSeconds": grace}
    if accepted:
        assert web(values)["template"]["spec"]["terminationGracePeriodSeconds"] == grace
        return
    with pytest.raises(Refused, match=r"app\.terminationGracePeriodSeconds .* app\.preStopDelaySeconds"):
        web(values)


@pytest.mark.trap("D9")
def test_gunicorn_needs_no_longer_than_the_chart_believes() -> None:
    text = (MINIMUM.parents[2] / "config" / "gunicorn.py").read_text()
    assert "graceful_timeout = int(_settings.drain_s) + 15\n" in text
