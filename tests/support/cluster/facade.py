"""The REST facade as a test sees it: its Deployment, its URL in the cluster, and an issuer of tokens that it trusts."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from support.api.issuer import AUDIENCE, ISSUER, Issuer

from .cluster import REPOSITORY, Cluster, Object, is_true, wait_for
from .operator import NAMESPACE, RELEASE

SELECTOR = "app.kubernetes.io/name=ocore-snapshots,app.kubernetes.io/component=api"
KEYS = "api-keys"
KEY = 0x0C0FE
#: Seconds for one request. snapshot-size waits up to 10 s for the operator.
REQUEST_SECONDS = 30.0


@dataclass(frozen=True)
class Replica:
    """One pod of the facade."""

    facade: "Facade"
    name: str
    uid: str
    address: str

    @property
    def url(self) -> str:
        """Its own base URL, past the Service."""
        return f"http://{self.address}:8080"

    def client(self, subject: str = "ann", **how: Any) -> httpx.Client:
        """A client of this replica alone, with a token."""
        return self.facade.client(subject, url=self.url, **how)

    def answered(self, method: str, route: str, status: int) -> int:
        """How many requests it has answered so, by its own metrics. `route` is the end of the route's path."""
        text = httpx.get(f"http://{self.address}:8081/metrics", timeout=10).text
        lines = re.findall(r"^ocore_api_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE)
        wanted = (f'method="{method}"', f'{route}"', f'status="{status}"')
        return sum(int(float(value)) for labels, value in lines if all(part in labels for part in wanted))


class Facade:
    """The facade that the release has installed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.issuer = Issuer()
        self._address: str | None = None
        self._url: str | None = None
        # Only for tests: the same key in every worker and every run.
        self.issuer.private = ec.derive_private_key(KEY, ec.SECP256R1())

    def values(self) -> list[str]:
        """Arguments of helm that install it, beside a ConfigMap with the issuer's key, which is applied."""
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": KEYS, "namespace": NAMESPACE},
                "data": {"jwks.json": self.issuer.jwks().decode()},
            },
        )
        chosen = {
            "enabled": "true",
            "replicas": "1",
            "drainSeconds": "0",
            "jwt.issuer": ISSUER,
            "jwt.audience": f"{{{AUDIENCE}}}",
            "jwt.jwks.configMap.name": KEYS,
            "settings.ui": "true",
        }
        return [part for name, value in chosen.items() for part in ("--set", f"api.{name}={value}")]

    def restart(self) -> None:
        """A new pod: the tag of the image stays the same from build to build."""
        self._address = None
        name = self.cluster.objects("Deployment", NAMESPACE, SELECTOR)[0]["metadata"]["name"]
        self.cluster.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{name}")
        self.cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=90s", timeout=100)
        wait_for("the facade's Service", lambda: self.ready()[0] == 200)

    @property
    def url(self) -> str:
        """Its base URL, reachable within `localcluster/cluster net`."""
        if self._url is None:
            name = self.cluster.objects("Service", NAMESPACE, SELECTOR)[0]["metadata"]["name"]
            self._url = f"http://{name}.{NAMESPACE}.svc.cluster.local"
        return self._url

    def pod(self) -> Object:
        """The running pod."""
        found: Object = wait_for("the facade's pod", self._pod)
        return found

    def replicas(self) -> list[Replica]:
        """The pods that serve: ready, and not being deleted."""
        pods = self.cluster.pods(NAMESPACE, SELECTOR)
        return [
            Replica(self, p["metadata"]["name"], p["metadata"]["uid"], p["status"]["podIP"])
            for p in pods
            if is_true(p, "Ready") and not p["metadata"].get("deletionTimestamp")
        ]

    @contextmanager
    def scaled(self, replicas: int) -> Iterator[list[Replica]]:
        """So many replicas by the chart's value, as a user sets it; afterwards one again."""
        try:
            self._set_replicas(replicas)
            yield self.replicas()
        finally:
            self._set_replicas(1)
            self._address = None

    def _set_replicas(self, replicas: int) -> None:
        done = subprocess.run(
            [
                "helm", "upgrade", RELEASE, str(REPOSITORY / "charts/ocore-snapshots"), "--namespace", NAMESPACE,
                "--reuse-values", "--set", f"api.replicas={replicas}", "--force-conflicts",
                "--wait", "--timeout", "90s",
            ],
            env=self.cluster.env, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        wait_for(f"{replicas} replicas", lambda: len(self.replicas()) == self._running() == replicas, 60)

    def _running(self) -> int:
        """All pods, the ones that end included."""
        return len(self.cluster.pods(NAMESPACE, SELECTOR))

    def address(self) -> str:
        """The pod's address. It is remembered: the API server need not answer for it."""
        if self._address is None:
            self._address = str(self.pod()["status"]["podIP"])
        return self._address

    def ready(self) -> tuple[int, list[str]]:
        """Status of /readyz, and its reasons; 0 where nothing answers. Asked at the pod: the Service has no pod that is
        not ready."""
        try:
            answer = httpx.get(f"http://{self.address()}:8081/readyz", timeout=5)
        except httpx.HTTPError:
            return 0, []
        return answer.status_code, list(answer.json()["reasons"])

    def token(self, subject: str, **how: Any) -> str:
        """A token: see :meth:`support.api.issuer.Issuer.token`."""
        return self.issuer.token(subject, **how)

    def client(self, subject: str = "ann", *, url: str | None = None, **how: Any) -> httpx.Client:
        """A client with a token; closes itself as a context manager. `url`: of one replica; None: of the Service."""
        headers = {"Authorization": f"Bearer {self.token(subject, **how)}"}
        return httpx.Client(base_url=url or self.url, headers=headers, timeout=REQUEST_SECONDS)

    def _pod(self) -> Object | None:
        pods: Iterable[Object] = self.cluster.pods(NAMESPACE, SELECTOR)
        running = (
            p for p in pods if p["status"].get("phase") == "Running" and not p["metadata"].get("deletionTimestamp")
        )
        return next(running, None)
