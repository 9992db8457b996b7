"""A small typed client over `kubernetes.aio`: JSON in, JSON out, every request with a timeout, errors of errors.py."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ocore_crds.base import StatusModel

from .resources import Meta, Object, Resource

Propagation = Literal["Background", "Foreground", "Orphan"]

MANAGER = "ocore-operator"  # field manager of spec-like writes and of the main status
MANAGER_PROGRESS = "ocore-operator-progress"  # owns status.progress while an operation runs
MANAGER_HOLD = "ocore-operator-hold"  # owns Environment.status.operation
MANAGER_EXECUTED = "ocore-operator-executed"  # owns Environment.status.executedRollbacks


@dataclass(frozen=True)
class Type:
    """A resource type of the API server."""

    api_version: str
    plural: str
    kind: str


ENVIRONMENTS = Type("ocore.dev/v1alpha1", "environments", "Environment")
STORES = Type("ocore.dev/v1alpha1", "snapshotstores", "SnapshotStore")
SNAPSHOTS = Type("ocore.dev/v1alpha1", "snapshots", "Snapshot")
ROLLBACKS = Type("ocore.dev/v1alpha1", "rollbacks", "Rollback")
JOBS = Type("batch/v1", "jobs", "Job")
PODS = Type("v1", "pods", "Pod")
CLAIMS = Type("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CONFIG_MAPS = Type("v1", "configmaps", "ConfigMap")
NAMESPACES = Type("v1", "namespaces", "Namespace")
EVENTS = Type("v1", "events", "Event")
DEPLOYMENTS = Type("apps/v1", "deployments", "Deployment")
STATEFUL_SETS = Type("apps/v1", "statefulsets", "StatefulSet")
LEASES = Type("coordination.k8s.io/v1", "leases", "Lease")
WORKLOADS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}


@dataclass(frozen=True)
class Scale:
    """A workload's scale subresource."""

    spec_replicas: int
    status_replicas: int
    selector: str
    resource_version: str


@dataclass(frozen=True)
class LogLine:
    """One line of a pod's log with the kubelet's timestamp."""

    time: str
    text: str


class Kube:
    """The client. Reads answer None for what is not there; every other refusal is an ApiError."""

    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        raise NotImplementedError

    async def list(
        self, type_: Type, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects by label and field selector; `namespace` None: all watched namespaces. Pages of 500."""
        raise NotImplementedError

    async def create(self, type_: Type, obj: Object) -> Object:
        """Raises AlreadyExists, Forbidden (quota, admission), Invalid."""
        raise NotImplementedError

    async def delete(
        self,
        type_: Type,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        propagation: Propagation = "Background",
    ) -> bool:
        """False where there is nothing (left) of that uid."""
        raise NotImplementedError

    async def merge_patch(
        self, type_: Type, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object | None:
        """RFC 7386; None where the object is gone. With metadata.resourceVersion in the patch: raises Conflict."""
        raise NotImplementedError

    async def apply_status(
        self, obj: Resource[object, StatusModel], status: Object, manager: str = MANAGER  # type: ignore[type-var]
    ) -> Meta | None:
        """Server-side apply, forced, of `status` (wire form) on /status with the resourceVersion that `obj` was read with: raises Conflict
        where the object moved on. What the manager owned and `status` lacks is removed. None where the object is gone."""
        raise NotImplementedError

    async def scale(self, type_: Type, namespace: str, name: str) -> Scale | None:
        """The scale subresource; None where the workload is not there."""
        raise NotImplementedError

    async def set_scale(self, type_: Type, namespace: str, name: str, replicas: int) -> bool:
        """Sets spec.replicas through the scale subresource; False where the workload is not there."""
        raise NotImplementedError

    async def annotate(self, type_: Type, namespace: str, name: str, annotations: dict[str, str | None]) -> bool:
        """Sets (None: removes) annotations; False where the object is not there. For the switch Job's pod: ocore.dev/signal."""
        raise NotImplementedError

    def follow_log(
        self, namespace: str, pod: str, *, since: datetime | None = None, timeout: float = 3600
    ) -> AsyncIterator[LogLine]:
        """The log's lines as they come, until the container ends or `timeout` seconds are over."""
        raise NotImplementedError
