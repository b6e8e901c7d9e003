"""The description against the application: every address is described, and nothing else is."""

from __future__ import annotations

import json
import re

from app.web.openapi import ROUTES, document
from tests.unit.web.doubles import Site


def test_the_description_and_the_addresses_are_the_same(site: Site) -> None:
    real = set()
    for rule in site.app.url_map.iter_rules():
        if not rule.endpoint.startswith("pages."):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            real |= {(method.lower(), path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert real == {(route.method, route.path) for route in ROUTES}


def test_every_reference_of_the_description_leads_somewhere(site: Site) -> None:
    served = site.client(None).get("/v1/openapi.json").get_json()
    assert served == json.loads(json.dumps(document()))
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(served)))
    assert names and names <= set(served["components"]["schemas"])
    ids = [operation["operationId"] for path in served["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert served["paths"]["/v1/runs"]["post"]["responses"].keys() >= {"200", "201", "202", "401", "422", "429", "503"}
