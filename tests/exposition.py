"""Reading `/metrics` as Prometheus does, with its own parser: names, types and label values to numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"


@dataclass(frozen=True)
class Scrape:
    """One answer of one replica."""

    types: dict[str, str]
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def value(self, name: str, **labels: str) -> float:
        """Return one number."""
        return self.values[name, tuple(sorted(labels.items()))]

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the numbers that are not 0 by the value of a label; those that agree in it are added up."""
        found: dict[str, float] = {}
        for (sample, labels), value in self.values.items():
            if sample == name and value:
                key = dict(labels)[label]
                found[key] = found.get(key, 0) + value
        return found


def parse(text: str) -> Scrape:
    """Return what the text says; every sample once."""
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    values = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    if len(values) != len(samples) or len({family.name for family in families}) != len(families):
        raise AssertionError("the same series twice")
    # The parser takes the ending off the names of counters.
    types = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
    return Scrape(types, values)


def documented() -> dict[str, str]:
    """Return name and type of every metric that the reference lists."""
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCUMENT.read_text(), flags=re.MULTILINE))
