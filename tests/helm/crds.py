"""Schemas of the kinds that are not Kubernetes' own: the part of the real definitions that the chart uses, in crds.yaml.

Written by: python -m tests.helm.crds FILE…, with the files of the definitions as their projects publish them. A field that the
chart begins to use is unknown until that is done again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml

FILE = Path(__file__).with_name("crds.yaml")
HEAD = """\
# The part that the chart uses of the definitions of prometheus-operator v0.85.0 (ServiceMonitor, PrometheusRule), KEDA v2.21.0
# (ScaledObject) and the Gateway API v1.7.0 (HTTPRoute, standard channel). Written by tests/helm/crds.py; see there.
"""
# Prose, and what is rebuilt for the fields that are used. Rules in the server's own language (x-kubernetes-…) cannot be checked.
LEFT_OUT = ("description", "default", "properties", "items")
Schema = dict[str, Any]


def kept(schema: Schema, used: list[Any]) -> Schema:
    """Return what the schema says of these values; of other fields only which must be there. Unknown fields are refused."""
    out = {key: value for key, value in schema.items() if key not in LEFT_OUT and not key.startswith("x-")}
    if schema.get("type") == "object" and "properties" in schema:
        found = {key for value in used for key in value}
        parts = {key: part for key, part in schema["properties"].items() if key in found}
        values = {key: [value[key] for value in used if key in value] for key in parts}
        out |= {"properties": {key: kept(part, values[key]) for key, part in parts.items()}, "additionalProperties": False}
    if "items" in schema:
        out["items"] = kept(schema["items"], [item for value in used for item in value])
    return out


def definition(path: Path) -> tuple[str, str, Schema]:
    """Return kind, version and schema of the newest served version in a file."""
    (crd,) = [one for one in yaml.safe_load_all(path.read_text()) if one]
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    (stored,) = [one for one in crd["spec"]["versions"] if one["storage"]]
    return kind, f"{group}/{stored['name']}", stored["schema"]["openAPIV3Schema"]


def validate(manifest: dict[str, Any]) -> None:
    """Check a manifest. Raises: jsonschema.ValidationError, KeyError for a kind that is not known."""
    known = yaml.safe_load(FILE.read_text())[manifest["kind"]]
    if manifest["apiVersion"] != known["apiVersion"]:
        raise jsonschema.ValidationError(f"{manifest['apiVersion']} is not {known['apiVersion']}")
    jsonschema.Draft202012Validator(known["schema"]).validate(manifest)


def main(paths: list[str]) -> None:
    """Write the file."""
    from tests.helm.test_chart import EVERYTHING, OF_OTHERS, render

    out = {}
    for kind, version, schema in map(definition, map(Path, paths)):
        used = [one for one in render(EVERYTHING) if one["kind"] == kind]
        out[kind] = {"apiVersion": version, "schema": kept(schema, used)}
        # Like every object's.
        out[kind]["schema"]["properties"]["metadata"] = {"type": "object"}
    if set(out) != OF_OTHERS:
        raise SystemExit(f"definitions are needed of {sorted(OF_OTHERS)}")
    FILE.write_text(HEAD + yaml.safe_dump(out, sort_keys=True, width=130))


if __name__ == "__main__":
    main(sys.argv[1:])
