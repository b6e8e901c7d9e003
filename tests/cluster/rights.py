"""Other users of the cluster than its administrator: the service account with the documented rights, and kubeconfigs of users."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from app.launch.kubernetes.api.kube_api import KubeApi

RULES = Path(__file__).parents[2] / "docs/kubernetes-rbac.yaml"
PATHS = {"ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts"}
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/"
PATHS |= {"Role": RBAC + "roles", "RoleBinding": RBAC + "rolebindings"}


def grant(api: KubeApi, namespace: str) -> dict[str, object]:
    """Create in the namespace what the documents say, and return a token of that service account."""
    for document in yaml.safe_load_all(RULES.read_text()):
        if document["kind"] == "RoleBinding":
            document["subjects"][0]["namespace"] = namespace
        api.call("POST", PATHS[document["kind"]].format(namespace), document)
    return account(api, namespace, "podwire")


def account(api: KubeApi, namespace: str, name: str) -> dict[str, object]:
    """Return a token of the service account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    return {"token": api.call("POST", path, body)["status"]["token"]}


def kubeconfig_of(user: dict[str, object], folder: Path, like: str | None = None) -> str:
    """Write a kubeconfig of another user of the same cluster as `like` (default: KUBECONFIG) and return its path."""
    config = yaml.safe_load(Path(like or os.environ["KUBECONFIG"]).read_text())
    config["users"][0]["user"] = user
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    return str(folder / "kubeconfig")
