"""A small typed client over `kubernetes.aio`: JSON in, JSON out, a timeout for every request, the errors of
errors.py."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ocore_crds.naming import MOVER_CONTAINER
from ocore_kube.errors import ApiError, Conflict, TooLarge
from ocore_kube.pages import pages
from ocore_kube.transport import (
    APPLY_PATCH,
    MERGE_PATCH,
    METADATA,
    METADATA_EVENTS,
    OBJECTS,
    STRATEGIC_PATCH,
    Pace,
    Transport,
)
from ocore_kube.types import OURS, PODS, Type
from ocore_operator import clock
from ocore_operator.kube.resources import Meta, Object, Parser, Resource, ResourceT
from ocore_operator.kube.slim import slim

Propagation = Literal["Background", "Foreground", "Orphan"]

MANAGER = "ocore-operator"  # owns the status, except for the fields of the others
MANAGER_PROGRESS = "ocore-operator-progress"  # owns status.progress while an operation runs
MANAGER_LOCK = "ocore-operator-hold"  # owns Environment.status.operation
MANAGER_EXECUTED = "ocore-operator-executed"  # owns Environment.status.executedRollbacks
MANAGER_PINS = "ocore-operator-pins"  # owns Environment.status.pins
MANAGER_IMPORT = "ocore-operator-import"  # owns the spec of Snapshots that an import created
MANAGER_RETENTION = "ocore-operator-retention"  # owns Snapshot.status.keptBy, expiresAt and ruleEnds
MANAGER_DEPENDENTS = "ocore-operator-dependents"  # owns Snapshot.status.dependents
MANAGER_RESTORE_TEST = "ocore-operator-restore-test"  # owns Snapshot.status.restoreTestRequest


#: Objects in one page of a list; fewer where they are large (ocore_kube.pages).
PAGE = 100
#: Objects of one namespace of which a list of metadata keeps some. More than the Jobs that running.py remembers of it.
PER_NAMESPACE = 1_001
#: Bytes, as JSON, of the objects of a list that are kept. Parsed they take a multiple, and all workers list at once.
LISTED_BYTES = 8 * 1024 * 1024
#: Seconds without a line after which a pod's log is requested again: the connection may be dead.
LOG_SILENCE = 60.0
#: Bytes per second of one pod's log that are read, and before that at once: of one that is followed, and of one that is
#: read whole, of which the kubelet keeps 10 MiB unless told otherwise. A mover writes 1 KiB a second. Who may run
#: programs in its pod can write as fast as the node does, and would take all of the operator's time.
LOG_RATE, FOLLOWED, WHOLE_LOG = 256 * 1024, 1024 * 1024, 12 * 1024 * 1024


@dataclass(frozen=True)
class LogLine:
    """One line of a pod's log with the kubelet's timestamp."""

    time: str
    text: str


class Kube:
    """The client. Reads return None for an object that does not exist; every other refusal is an ApiError.

    `guard` is called before every write: it ends the process where the Lease was lost (engine/lease.py).
    """

    def __init__(self, transport: Transport, namespaces: Sequence[str] = (), guard: Callable[[], None] | None = None):
        self._transport = transport
        self._namespaces = tuple(namespaces)
        self._guard = guard

    # --- reads ----------------------------------------------------------------------------------------------
    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        """The object, or None. An empty name is that of no object: its path is the one of the list."""
        return await self._or_none("GET", type_.path(namespace, name)) if name else None

    async def scale(self, type_: Type, namespace: str, name: str) -> Object | None:
        """The scale subresource; None where the object, or the subresource, does not exist."""
        return await self._or_none("GET", type_.path(namespace, name, "scale"))

    async def served(self, api_version: str) -> Object | None:
        """The APIResourceList of a group and version: any account may read it. None where it is not served."""
        return await self._or_none("GET", f"/apis/{api_version}")

    async def metadata(
        self,
        type_: Type,
        namespace: str | None,
        *,
        labels: str,
        keep: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        """The objects of one namespace (None: the whole cluster), of each only its metadata: a tenant's objects of 1.5
        MB cost little. Of one namespace PER_NAMESPACE are kept; more are left out."""
        found: list[Object] = []
        kept: Counter[str] = Counter()
        async for page in self.pages(type_, namespace, labels=labels, accept=METADATA):
            for obj in filter(keep, page):
                of = obj["metadata"].get("namespace", "")
                if kept[of] < PER_NAMESPACE:
                    kept[of] += 1
                    found.append(slim(type_, obj))
        return found

    async def list(
        self,
        type_: Type,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        """All objects by label and field selector; `namespace` None: all watched namespaces. Reads the newest state. Of
        thousands, only those that `keep` wants stay in memory, and of them what slim.py keeps. Raises TooLarge where
        that is more than LISTED_BYTES."""
        found: list[Object] = []
        size = 0
        for each in (namespace,) if namespace else self._namespaces or (None,):
            async for page in self.pages(type_, each, labels=labels, fields=fields):
                kept = [slim(type_, obj) for obj in page if keep(obj)]
                size += len(json.dumps(kept))
                if size > LISTED_BYTES:
                    where = f"namespace {each}" if each else "the cluster"
                    text = f"the {type_.plural} of {where} that must be read have more than {LISTED_BYTES} bytes"
                    raise TooLarge(0, "ListTooLarge", f"{text}: delete those that are not needed")
                found += kept
        return found

    async def pages(
        self, type_: Type, namespace: str | None, *, labels: str = "", fields: str = "", accept: str = OBJECTS
    ) -> AsyncIterator[Sequence[Object]]:
        """The objects of one namespace (None: the whole cluster) in pages."""
        query = {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}

        async def ask(wanted: Mapping[str, str], most: int) -> Object:
            return await self._transport.request("GET", type_.path(namespace), query=wanted, accept=accept, most=most)

        async for answer in pages(ask, query, PAGE):
            # A list of metadata without an object has null: Go's nil slice (apimachinery, PartialObjectMetadataList).
            yield answer["items"] or ()

    async def follow_log(
        self,
        namespace: str,
        pod: str,
        *,
        since: datetime | None = None,
        seconds: float = 3600,
        follow: bool = True,
        pace: Pace | None = None,
    ) -> AsyncIterator[LogLine]:
        """The lines of the mover's log as they arrive, until its container ends, the connection breaks or `seconds`
        have passed. `pace`: see LOG_RATE; else that of a log that is followed."""
        query = {"container": MOVER_CONTAINER, "follow": str(follow).lower(), "timestamps": "true"}
        if since is not None:
            query["sinceTime"] = clock.micro(since)
        path = PODS.path(namespace, pod, "log")
        pace = pace or Pace(LOG_RATE, FOLLOWED)
        async for line in self._transport.lines(path, query=query, seconds=seconds, silence=LOG_SILENCE, pace=pace):
            time, _, text = line.partition(" ")
            yield LogLine(time, text)

    async def events(self, type_: Type, namespace: str, *, labels: str, seconds: float) -> AsyncIterator[str]:
        """The events of a watch as JSON, with the metadata of the objects only, for so many seconds at most. First come
        those of what exists."""
        query = {"watch": "true", "labelSelector": labels, "timeoutSeconds": str(int(seconds))}
        path = type_.path(namespace)
        async for line in self._transport.lines(
            path, query=query, seconds=seconds, silence=seconds, accept=METADATA_EVENTS
        ):
            yield line

    # --- writes ---------------------------------------------------------------------------------------------
    async def create(self, type_: Type, obj: Object, manager: str = MANAGER) -> Object:
        """Raises AlreadyExists, Forbidden (quota, admission), Invalid."""
        self._may_write()
        path = type_.path(obj["metadata"]["namespace"])
        return await self._transport.request("POST", path, query={"fieldManager": manager}, body=obj)

    async def delete(
        self,
        type_: Type,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
    ) -> bool:
        """False where no object of that name and uid exists, or (with `resource_version`) where it changed since it was
        read."""
        self._may_write()
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        conditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v is not None}
        if conditions:
            body["preconditions"] = conditions
        try:
            return await self._or_none("DELETE", type_.path(namespace, name), body=body) is not None
        except Conflict:
            return False  # another object has the name now

    async def set_spec(self, type_: Type, obj: Object, spec: Object) -> Object | None:
        """Sets fields of the spec of an object that an import created. Raises Conflict where it changed since it was
        read, Forbidden and Invalid where the API server refuses. None where it is gone."""
        namespace, name, version = _read(obj)
        return await self._patch(type_, namespace, name, {"spec": spec}, version, manager=MANAGER_IMPORT)

    async def merge_patch(
        self,
        type_: Type,
        namespace: str,
        name: str,
        patch: Object,
        *,
        subresource: str = "",
        resource_version: str | None = None,
    ) -> Object | None:
        """RFC 7386; None where the object is gone. With `resource_version`: raises Conflict where it changed since it
        was read."""
        return await self._patch(type_, namespace, name, patch, resource_version, subresource=subresource)

    async def apply_status(self, obj: Resource[Any, Any], status: Object, manager: str = MANAGER) -> Object | None:
        """Forced server-side apply of `status` (wire form) to /status, with the resourceVersion that `obj` was read
        with. Raises Conflict where the object changed since. Fields that the manager owned and `status` lacks are
        removed. None where the object is gone."""
        self._may_write()
        meta = obj.meta
        body = {
            "apiVersion": obj.kind.api_version,
            "kind": obj.kind.kind,
            "metadata": {"name": meta.name, "namespace": meta.namespace, "resourceVersion": meta.resource_version},
            "status": status,
        }
        path = OURS[obj.kind.kind].path(meta.namespace, meta.name, "status")
        query = {"fieldManager": manager, "force": "true"}
        return await self._or_none("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)

    async def patch_status(self, type_: Type, obj: Object, fields: Object) -> Object | None:
        """Merges `fields` into a status that cannot be applied: another manager owns what is removed (null), or the
        status cannot be read. Raises Conflict where the object changed since it was read. None where it is gone."""
        namespace, name, version = _read(obj)
        return await self._patch(type_, namespace, name, {"status": fields}, version, subresource="status")

    async def set_finalizers(self, obj: Meta, type_: Type, finalizers: Sequence[str]) -> Object | None:
        """Replaces the list. Raises Conflict where the object changed since it was read. None where it is gone."""
        patch = {"metadata": {"finalizers": list(finalizers)}}
        return await self._patch(type_, obj.namespace, obj.name, patch, obj.resource_version)

    async def set_scale(
        self, type_: Type, namespace: str, name: str, replicas: int, *, resource_version: str | None = None
    ) -> bool:
        """Sets spec.replicas through the scale subresource; False where the workload does not exist. With
        `resource_version`: raises Conflict where it changed since it was read."""
        patch = {"spec": {"replicas": replicas}}
        return await self._patch(type_, namespace, name, patch, resource_version, subresource="scale") is not None

    async def set_template(
        self, type_: Type, namespace: str, name: str, patch: Object, *, resource_version: str
    ) -> bool:
        """Patches the pod template of a workload (strategic merge patch); False where the workload does not exist.
        Raises Conflict where it changed since it was read, Forbidden and Invalid where the API server refuses."""
        return await self._patch(type_, namespace, name, patch, resource_version, STRATEGIC_PATCH) is not None

    async def annotate(
        self,
        type_: Type,
        namespace: str,
        name: str,
        annotations: dict[str, str | None],
        *,
        resource_version: str | None = None,
    ) -> bool:
        """Sets (None: removes) annotations; False where the object does not exist. For the switch Job's pod:
        ocore.dev/signal. With `resource_version`: raises Conflict where the object changed since it was read."""
        patch = {"metadata": {"annotations": annotations}}
        return await self._patch(type_, namespace, name, patch, resource_version) is not None

    # --- inner ----------------------------------------------------------------------------------------------
    def _may_write(self) -> None:
        if self._guard is not None:
            self._guard()

    async def _patch(
        self,
        type_: Type,
        namespace: str,
        name: str,
        patch: Object,
        resource_version: str | None,
        content_type: str = MERGE_PATCH,
        *,
        subresource: str = "",
        manager: str = MANAGER,
    ) -> Object | None:
        """With `resource_version`: raises Conflict where the object changed since it was read."""
        self._may_write()
        if resource_version is not None:
            metadata = {**(patch.get("metadata") or {}), "resourceVersion": resource_version}
            patch = {**patch, "metadata": metadata}
        path = type_.path(namespace, name, subresource)
        query = {"fieldManager": manager}
        return await self._or_none("PATCH", path, query=query, body=patch, content_type=content_type)

    async def _or_none(self, method: str, path: str, **options: Any) -> Object | None:
        try:
            return await self._transport.request(method, path, **options)
        except ApiError as error:
            if error.status == 404:
                return None
            raise


def _read(obj: Object) -> tuple[str, str, str]:
    """Namespace and name of an object, and the version that was read."""
    meta = obj["metadata"]
    return meta["namespace"], meta["name"], meta["resourceVersion"]


async def read(kube: Kube, parse: Parser[ResourceT], namespace: str, name: str | None) -> ResourceT | None:
    """The object of our kinds, parsed; None where it does not exist, or no name is given."""
    obj = await kube.get(OURS[parse.kind.kind], namespace, name or "")
    return parse(obj) if obj is not None else None
