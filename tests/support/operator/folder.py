"""An Environment that needs no server: a folder of files on a claim, and a store on another claim."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.cluster.cluster import GROUP, Cluster, Object, is_true, unique
from support.cluster.node import claim_folder
from support.cluster.site import claim

from .process import OperatorProcess

IMAGE = "localhost/ocore-snapshots/mover:17"
PROJECT = "11111111-2222-4333-8444-555555555555"
#: Of an Environment without a workload: the user of the cluster's pods. New claims belong to root.
JOB_USER = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
#: Settings of an operator whose tests do not wait for long.
FAST = {"environment_wait": 3, "resync_interval": 5, "request_timeout": 5, "cleanup_timeout": 20}


def folder_store(namespace: str, **spec: object) -> Object:
    """The SnapshotStore `store`, with more fields of its spec."""
    return {
        "apiVersion": GROUP,
        "kind": "SnapshotStore",
        "metadata": {"name": "store", "namespace": namespace},
        "spec": {"claim": {"claimName": "backups", "path": "eu"}, **spec},
    }


@contextmanager
def folder_environment(cluster: Cluster, prefix: str, script: str, **spec: object) -> Iterator[str]:
    """A namespace with the Environment `shop`, layout Plain, with more fields of its spec. `script` fills its folder,
    /files/data."""
    name = cluster.namespace(prefix)
    cluster.apply(claim("files", name), claim("backups", name))
    code, log = cluster.run_pod(name, IMAGE, ["sh", "-c", script], claims={"/files": "files"})
    assert code == 0, log
    cluster.apply(
        folder_store(name),
        {
            "apiVersion": GROUP,
            "kind": "Environment",
            "metadata": {"name": "shop", "namespace": name},
            "spec": {
                "projectId": PROJECT,
                "type": "staging",
                "storeRef": {"name": "store"},
                "filestore": {"claimName": "files", "path": "data", "layout": "Plain"},
                "jobs": {**JOB_USER, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
                **spec,
            },
        },
    )
    yield name
    cluster.delete("Namespace", name)


@contextmanager
def operating(cluster: Cluster, namespace: str, folder: Path) -> Iterator[OperatorProcess]:
    """An operator of the test's own, with the Environment ready."""
    operator = OperatorProcess(cluster, [namespace], folder, **FAST).start()
    cluster.wait("Environment", "shop", namespace, lambda o: is_true(o, "Ready"), 120, "ready")
    yield operator
    operator.stop()


def create_snapshot(cluster: Cluster, namespace: str, failpoints: str = "", **spec: object) -> str:
    """A Snapshot of the Environment; its name."""
    name = unique("s")
    annotations = {"ocore.dev/failpoints": failpoints} if failpoints else {}
    cluster.apply(
        {
            "apiVersion": GROUP,
            "kind": "Snapshot",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"environmentRef": {"name": "shop"}, "timeoutSeconds": 240, **spec},
        }
    )
    return name


def stored(cluster: Cluster, namespace: str, obj: Object) -> list[Path]:
    """Files of a Snapshot in the store."""
    environments = claim_folder(cluster, "backups", namespace) / "eu/environments"
    return [path for path in environments.glob(f"*/snapshots/{obj['status']['id']}/**/*") if path.is_file()]
