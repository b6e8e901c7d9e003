"""The service as processes here, its runs as pods on the cluster: one way to have it, with the settings that a test needs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.integration.cluster import Podwire
from tests.servers import Postgres

IMAGE = os.environ.get("PODWIRE_TEST_IMAGE", "localhost/podwire:dev")
# An earlier version of it, to upgrade from; scripts/cluster-images says which.
PREVIOUS_IMAGE = f"{IMAGE.rpartition(':')[0]}:{os.environ.get('PODWIRE_TEST_PREVIOUS_TAG', 'previous')}"
RUN_IMAGE = os.environ.get("PODWIRE_TEST_RUN_IMAGE", "docker.io/library/python:3.11-slim-bookworm")


@contextmanager
def installed(
    namespace: str,
    *,
    web: int = 2,
    workers: int = 2,
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[Podwire]:
    """Run a service with a database server and a Redis of its own, whose pods are in the namespace; take it away afterwards."""
    images = json.dumps({"python": RUN_IMAGE, "bash": RUN_IMAGE})
    kube = {"launcher": "kubernetes", "kube_namespace": namespace, "kube_agent_image": IMAGE, "kube_images": images}
    postgres = Postgres(max_connections=300)
    try:
        postgres.start()
        podwire = Podwire(postgres, web=web, workers=workers, environment=environment, **{**kube, **settings})
        try:
            podwire.start()
            yield podwire
        finally:
            podwire.stop()
    finally:
        postgres.remove()
