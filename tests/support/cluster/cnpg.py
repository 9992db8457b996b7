"""CloudNativePG: its operator, and a Cluster of two instances as the server of a site."""

import base64
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import node
from .cluster import REPOSITORY, Cluster, Object
from .site import ADMIN_PASSWORD, IMAGE, Site, secret

CNPG = "postgresql.cnpg.io/v1"
OPERATOR_IMAGE = f"{IMAGE}/cnpg:dev"
SYSTEM = "cnpg-system"
HEALTHY = "Cluster in healthy state"
NAME = "pg"


def _manifests() -> str:
    """Of the release, with the local image. Without the limit of a tenth of a processor: a start would take half a
    minute."""
    command = [str(REPOSITORY / "localcluster/cluster"), "cnpg"]
    folder = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    text = Path(folder, "cnpg.yaml").read_text()
    for pattern, to in (
        (r"\S+/cloudnative-pg:[0-9.]+", OPERATOR_IMAGE),
        ("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent"),
        (r" +cpu: 100m\n( +)memory: 200Mi", r"\1memory: 400Mi"),
    ):
        text, count = re.subn(pattern, to, text)
        assert count, f"CloudNativePG's manifests have no {pattern!r}"
    return text


@contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """CloudNativePG's operator runs within the block. Its Clusters must be gone at the end."""
    manifests = _manifests()
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=manifests)
    cluster.wait(
        "Deployment",
        "cnpg-controller-manager",
        SYSTEM,
        lambda d: (d.get("status", {}).get("readyReplicas") or 0) >= 1,
        120,
        "ready",
    )
    cluster.dynamic.resources.invalidate_cache()
    try:
        yield
    finally:
        cluster.kubectl("delete", "--wait=false", "--ignore-not-found", "-f", "-", stdin=manifests)


@dataclass(frozen=True)
class Instances:
    """The instances of the Cluster `pg` in a namespace."""

    cluster: Cluster
    namespace: str

    def current(self) -> Object:
        """The Cluster."""
        found = self.cluster.get("Cluster", NAME, self.namespace)
        assert found is not None
        return found

    def primary(self) -> str:
        """Name of the primary's pod."""
        return str(self.current()["status"]["currentPrimary"])

    def replica(self) -> str:
        """Name of the other one's pod."""
        (name,) = {f"{NAME}-1", f"{NAME}-2"} - {self.primary()}
        return name

    def healthy(self, timeout: float = 120) -> None:
        """Waits until both instances run, and the replica streams from the primary."""
        self.cluster.wait("Cluster", NAME, self.namespace, _is_healthy, timeout, "healthy")

    def change(self, **spec: object) -> None:
        """Merges into the Cluster's spec."""
        self.cluster.patch("Cluster", NAME, self.namespace, {"spec": spec})

    def annotate(self, name: str, value: str | None) -> None:
        """Sets an annotation of the Cluster; None removes it."""
        self.cluster.patch("Cluster", NAME, self.namespace, {"metadata": {"annotations": {name: value}}})

    @contextmanager
    def follower(self) -> Iterator[str]:
        """A replica Cluster of one instance that follows this one; its name."""
        name, of = f"{NAME}-follower", self.current()["spec"]
        kept = ("imageName", "imagePullPolicy", "postgresUID", "postgresGID", "postgresql", "storage")
        source: Object = {
            "name": NAME,
            "connectionParameters": {"host": f"{NAME}-rw", "user": "streaming_replica", "dbname": "postgres"},
            "sslKey": {"name": f"{NAME}-replication", "key": "tls.key"},
            "sslCert": {"name": f"{NAME}-replication", "key": "tls.crt"},
            "sslRootCert": {"name": f"{NAME}-ca", "key": "ca.crt"},
        }
        spec: Object = {
            **{key: of[key] for key in kept},
            "instances": 1,
            "bootstrap": {"pg_basebackup": {"source": NAME}},
            "replica": {"enabled": True, "source": NAME},
            "externalClusters": [source],
        }
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": CNPG, "kind": "Cluster", "metadata": metadata, "spec": spec})
        try:
            self.cluster.wait(
                "Cluster", name, self.namespace, lambda c: c.get("status", {}).get("phase") == HEALTHY, 180, "healthy"
            )
            yield name
        finally:
            self.cluster.delete("Cluster", name, self.namespace)
            self.cluster.wait_gone("Cluster", name, self.namespace)

    def switch_over(self) -> str:
        """As `kubectl cnpg promote` of the replica; returns its name once it is the primary."""
        to = self.replica()
        self.cluster.patch_status(
            "Cluster",
            NAME,
            self.namespace,
            {
                "targetPrimary": to,
                "targetPrimaryTimestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
                "phase": "Switchover in progress",
                "phaseReason": f"Switching over to {to}",
            },
        )
        return self._promoted(to)

    def fail_over(self) -> str:
        """Kills the primary and deletes its pod; returns the name of the replica once it is the primary."""
        to, primary = self.replica(), self.primary()
        pod = self.cluster.get("Pod", primary, self.namespace)
        assert pod is not None
        node.kill(pod, ".")
        self.cluster.delete("Pod", primary, self.namespace, gracePeriodSeconds=0)
        return self._promoted(to)

    def _promoted(self, to: str) -> str:
        self.cluster.wait(
            "Cluster", NAME, self.namespace, lambda c: c["status"].get("currentPrimary") == to, 90, f"promoted {to}"
        )
        return to

    @contextmanager
    def replica_cut_off(self) -> Iterator[None]:
        """Within the block the replica receives nothing from the primary."""
        pod = self.cluster.get("Pod", self.replica(), self.namespace)
        service = self.cluster.get("Service", f"{NAME}-rw", self.namespace)
        assert pod is not None
        assert service is not None
        with node.PodNetwork(pod, service["spec"]["clusterIP"]) as network:
            network.block()
            yield

    @contextmanager
    def pooler(self, mode: str) -> Iterator[str]:
        """A `Pooler` in front of the primary, with Debian's PgBouncer; its host."""
        name = f"{NAME}-pooler-{mode}"
        container = {"name": "pgbouncer", "image": OPERATOR_IMAGE, "imagePullPolicy": "IfNotPresent"}
        spec: Object = {
            "cluster": {"name": NAME},
            "instances": 1,
            "type": "rw",
            "pgbouncer": {"poolMode": mode},
            "template": {"spec": {"containers": [container]}},
        }
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": CNPG, "kind": "Pooler", "metadata": metadata, "spec": spec})
        self.cluster.wait(
            "Deployment", name, self.namespace, lambda d: d.get("status", {}).get("readyReplicas") == 1, 90, "ready"
        )
        try:
            yield f"{name}.{self.namespace}.svc.cluster.local"
        finally:
            self.cluster.delete("Pooler", name, self.namespace)
            self.cluster.wait_gone("Deployment", name, self.namespace)


def _is_healthy(cluster: Object) -> bool:
    status = cluster.get("status", {})
    same = status.get("currentPrimary") == status.get("targetPrimary") is not None
    return same and status.get("phase") == HEALTHY and status.get("readyInstances") == 2


def cluster_of(site: Site) -> None:
    """Makes the Cluster, with the site's database and a role that may create databases, and waits until it is
    healthy."""
    superuser = secret("pg-superuser", site.namespace, username="postgres", password=ADMIN_PASSWORD)
    role: Object = {"name": site.role, "login": True, "createdb": True}
    spec: Object = {
        "instances": 2,
        "imageName": f"{IMAGE}/postgres:{site.major}",
        "imagePullPolicy": "IfNotPresent",
        "postgresUID": 65532,
        "postgresGID": 65532,
        "bootstrap": {"initdb": {"database": site.database, "owner": site.role}},
        "enableSuperuserAccess": True,
        "superuserSecret": {"name": "pg-superuser"},
        "managed": {"roles": [role]},
        # The image has no compiler; pg_rewind asks a query that would use it.
        "postgresql": {"parameters": {"jit": "off"}},
        "storage": {"size": "2Gi", "storageClass": "standard"},
        # A primary that is told to stop does not wait for clients first.
        "smartShutdownTimeout": 1,
    }
    metadata = {"name": NAME, "namespace": site.namespace}
    site.cluster.apply(superuser, {"apiVersion": CNPG, "kind": "Cluster", "metadata": metadata, "spec": spec})
    Instances(site.cluster, site.namespace).healthy(180)
    found = site.cluster.get("Secret", f"{NAME}-app", site.namespace)
    assert found is not None
    site.password = base64.b64decode(found["data"]["password"]).decode()
    site.host = f"{NAME}-rw.{site.namespace}.svc.cluster.local"


#: `spec.database` of an Environment: the Cluster says all. Its superuser is the administrator.
DATABASE: Object = {"cnpg": {"cluster": NAME}}
#: The same by hand, with the owner's Secret only
WITHOUT_ADMINISTRATOR: Object = {
    "secretRef": {"name": f"{NAME}-app"},
    "tls": {"ca": {"secretRef": {"name": f"{NAME}-ca", "key": "ca.crt"}}},
    "capacity": "2Gi",
}
