"""The Kubernetes API as this service uses it: JSON over pooled connections, and exec sockets dialled directly.

Credentials come from the cluster the process runs in, else from a kubeconfig, and are read again when they are refused. What a
pod is and what to do about it is decided elsewhere.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import urllib3
import websocket
from kubernetes import client, config

from app.launch.kubernetes.api.kube_errors import ApiFailure

Json = dict[str, Any]
PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
CONNECT_S = 5.0
ANSWER_S = 15.0


class KubeApi:
    """A client of one cluster. Thread-safe."""

    def __init__(self, connections: int = 16, kubeconfig: str | None = None) -> None:
        """Keep up to `connections` open; nothing is contacted yet. `kubeconfig` is a file to use instead of what is found.

        Raises: ApiFailure when there are no credentials.
        """
        self._connections, self._kubeconfig = connections, kubeconfig
        self._lock = threading.Lock()
        self._load()

    def _load(self) -> None:
        settings = client.Configuration()
        settings.retries = False
        settings.connection_pool_maxsize = self._connections
        try:
            self._find_credentials(settings)
        except (config.ConfigException, OSError) as error:
            words = f"there is neither a service account nor a usable kubeconfig: {error}"
            raise ApiFailure(0, "NoCredentials", words) from error
        self._settings = settings
        self._client = client.ApiClient(settings)

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self._settings.host)

    def _find_credentials(self, settings: client.Configuration) -> None:
        if self._kubeconfig is None:
            try:
                return config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call,no-any-return]
            except config.ConfigException:
                pass  # not inside a cluster
        config.load_kube_config(self._kubeconfig, client_configuration=settings)  # type: ignore[no-untyped-call]

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "podwire"}
        # Asked for every time: a token that is a file's contents is read again there.
        token = self._settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = str(token)
        return headers

    def _send(self, method: str, path: str, query: Mapping[str, str], body: Json | None, read_s: float, stream: bool) -> Any:
        pool = self._client.rest_client.pool_manager
        url = f"{self._settings.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            return pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers(),
                timeout=urllib3.Timeout(connect=CONNECT_S, read=read_s),
                retries=False,
                preload_content=not stream,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiFailure(0, "Unreachable", f"{type(error).__name__}: {error}") from error

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, read_s: float, stream: bool = False
    ) -> Any:
        answer = self._send(method, path, query, body, read_s, stream)
        if answer.status == 401:
            answer.release_conn()
            with self._lock:
                self._load()
            answer = self._send(method, path, query, body, read_s, stream)
        if answer.status >= 300:
            raise ApiFailure.of_answer(answer.status, answer.data, answer.headers.get("Retry-After"))
        return answer

    def call(self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None) -> Json:
        """Make one request and return the JSON object. Raises: ApiFailure."""
        data = self._ask(method, path, query or {}, body, ANSWER_S).data
        try:
            return dict(json.loads(data))
        except ValueError as error:
            raise ApiFailure(0, "NotJson", f"the answer is not JSON: {data[:100]!r}") from error

    def lines(self, path: str, query: Mapping[str, str], silence_s: float) -> Iterator[Json]:
        """Yield the objects of a watch until the server ends it. Raises: ApiFailure, also after `silence_s` without a word."""
        answer = self._ask("GET", path, query, None, silence_s, stream=True)
        rest = b""
        try:
            for part in answer.stream(65536, decode_content=True):
                *whole, rest = (rest + part).split(b"\n")
                yield from (json.loads(line) for line in whole if line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ApiFailure(0, "Broken", f"{type(error).__name__}: {error}") from error
        finally:
            answer.close()

    def dial(self, namespace: str, pod: str, container: str, command: Sequence[str], within_s: float) -> tuple[Any, str]:
        """Open an exec with stdin, stdout and stderr; return the connected socket after its handshake, and the protocol.

        Raises: ApiFailure. Every step of it takes `within_s` at most.
        """
        words = [("command", word) for word in command]
        flags = [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        host = self._settings.host.replace("http", "ws", 1)
        url = f"{host}/api/v1/namespaces/{namespace}/pods/{pod}/exec?{urlencode([*words, *flags])}"
        headers = [f"{name}: {value}" for name, value in self._headers().items() if name.lower() == "authorization"]
        try:
            made = websocket.create_connection(
                url, timeout=within_s, header=headers, subprotocols=PROTOCOLS, sslopt=self._tls(), http_no_proxy=["*"]
            )
        except websocket.WebSocketBadStatusException as error:
            raise ApiFailure.of_answer(error.status_code, bytes(error.resp_body or b"")) from error
        except (websocket.WebSocketException, OSError) as error:
            raise ApiFailure(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        return made.sock, str(made.subprotocol)

    def _tls(self) -> dict[str, object]:
        options: dict[str, object] = {"cert_reqs": ssl.CERT_REQUIRED if self._settings.verify_ssl else ssl.CERT_NONE}
        if self._settings.ssl_ca_cert:
            options["ca_certs"] = self._settings.ssl_ca_cert
        if self._settings.cert_file:
            options |= {"certfile": self._settings.cert_file, "keyfile": self._settings.key_file}
        if self._settings.tls_server_name:
            options["server_hostname"] = self._settings.tls_server_name
        return options
