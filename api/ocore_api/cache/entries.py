"""What is kept of each object: slots and packed bytes, never the object itself. Never changed once it is made. Pure."""

from collections.abc import Callable
from sys import intern
from typing import ClassVar
from zlib import Z_BEST_SPEED, compress, decompress

from ocore_api.views import events, rows
from ocore_api.views.console import environments, rollbacks, snapshots
from ocore_api.views.values import FINAL, Object, Resource, encode, milliseconds
from ocore_crds import conditions as c
from ocore_crds.naming import project_id
from ocore_crds.resources.environment import SizesStatus
from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_crds.rules.differentials import needs_of
from ocore_crds.rules.retention import candidate_of, safety_of, snapshot_used_by
from ocore_kube.types import ENVIRONMENTS, EXTRACTS, POLICIES, ROLLBACKS, SNAPSHOTS

#: Kind, namespace and name.
Key = tuple[str, str, str]
SNAPSHOT, ROLLBACK, ENVIRONMENT, POLICY = SNAPSHOTS.kind, ROLLBACKS.kind, ENVIRONMENTS.kind, POLICIES.kind
EXTRACT = EXTRACTS.kind
KINDS = (ENVIRONMENT, POLICY, SNAPSHOT, ROLLBACK, EXTRACT)
#: Of which marks a Snapshot has, the newest one of an environment is at hand. A safety snapshot has only SAFETY, once
#: it is Complete: it shows what a Rollback replaced, and is never taken for a good state.
COMPLETE, VERIFIED, RESTORE_TESTED, INCOMPLETE = c.COMPLETE, c.VERIFIED, c.RESTORE_TESTED, c.INCOMPLETE
OPEN, ENDED, SAFETY = "Open", "Ended", "Safety"
#: Bytes of an object, as JSON, that are kept at most. The API server takes 1.5 MB, and a tenant decides how many.
LARGEST = 256 * 1024


class Entry:
    """What every kind has."""

    __slots__ = (
        *("created", "deleting", "environment_id", "environment_type", "id", "key", "order", "project_id"),
        *("recorded", "refused", "uid", "version"),
    )

    #: For people, and in the names of events.
    noun: ClassVar[str]
    #: Of the object.
    kind: ClassVar[str]

    def __init__(self, obj: Resource, id_: str, origin: rows.Origin) -> None:
        self.key: Key = self.kind, intern(obj.meta["namespace"]), obj.meta["name"]
        self.uid = str(obj.meta["uid"])
        self.id = self.uid if id_ == self.uid else id_
        #: By the API server, or earlier: decides who has an id.
        self.created = obj.first_seen
        #: Newer is larger.
        self.order = obj.order, self.id
        self.version = int(obj.meta["resourceVersion"])
        #: Empty: unknown.
        self.environment_id = intern(origin.environment_id)
        #: Empty: unknown.
        self.project_id = intern(origin.project_id)
        self.environment_type = intern(origin.type)
        #: Whether another object has its id.
        self.refused = obj.refused
        self.deleting = obj.deleting
        #: Whether the operator has written its id.
        self.recorded = bool(obj.status.get("id"))

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return self.key[1]

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.key[2]


class PolicyEntry(Entry):
    """A SnapshotPolicy, of the Environment with its name."""

    __slots__ = ("object",)

    noun, kind = "policy", POLICY

    def __init__(self, obj: Resource) -> None:
        """Raises ValueError where it is too large."""
        super().__init__(obj, obj.meta["uid"], rows.Origin())
        whole(obj.raw)
        #: As the API server returned it.
        self.object = obj.raw


class EnvironmentEntry(Entry):
    """An Environment. `id` and `environment_id` are the same: empty before the operator has written it, because until
    then another one may have it."""

    __slots__ = (
        *("details", "operation", "operation_since", "probed_at", "problem", "ready", "rollback_ready", "row", "sizes"),
    )

    noun, kind = "environment", ENVIRONMENT

    def __init__(self, obj: Resource) -> None:
        id_, found = str(obj.status.get("id") or ""), obj.conditions.get(c.READY, {})
        project = project_id(obj.spec.get("projectId"), obj.meta["namespace"])
        super().__init__(obj, id_, rows.Origin(id_, project, "", obj.spec["type"]))
        sizes, operation, row = obj.status.get("sizes"), obj.status.get("operation"), environments.row(obj)
        self.sizes = SizesStatus.model_validate(sizes, extra="ignore") if sizes else None
        probed = found.get("status") == "False" and found.get("reason") not in (c.PENDING, c.PROBING, c.JOB_PENDING)
        #: Reason and message of Ready=False, unless a probe is under way.
        self.problem = (str(found.get("reason") or ""), str(found.get("message") or "")) if probed else None
        #: Kind and name of the operation that has the operation lock.
        self.operation = (operation["kind"], operation["name"]) if operation else None
        self.operation_since = str(operation["since"]) if operation else ""
        self.ready: bool | None = row["ready"]
        self.rollback_ready: bool | None = row["rollbackReady"]
        #: When the newest probe began.
        self.probed_at: str | None = row["probedAt"]
        #: JSON of what the console's row has of the Environment alone.
        self.row = encode(row)
        #: The same of its details, packed.
        self.details = packed(encode(environments.details(obj)))


class OperationEntry(Entry):
    """A Snapshot, Rollback or Extract."""

    __slots__ = ("final", "length", "row", "status")

    def __init__(
        self,
        obj: Resource,
        origin: rows.Origin,
        view: Object,
        additions: Callable[[Resource, Object], Object] | None = None,
    ) -> None:
        """`additions`: what the console's API has beside the view; None: nothing. Raises ValueError where it is too
        large."""
        super().__init__(obj, view["id"], origin)
        event, encoded = events.progress_event(obj), encode(view)
        row = b"\n".join((encoded, encode(event), encode(additions(obj, event)) if additions is not None else b""))
        #: pending, running, completed or failed.
        self.status = intern(view["status"])
        #: Whether it never changes again but for pins and retention.
        self.final = self.status in FINAL
        #: The view, the event and the console's additions, each on a line; packed if it is final.
        self.row = packed(row) if self.final else row
        #: Bytes of the view.
        self.length = len(encoded)
        if max(len(self.row), self.length) > LARGEST:
            raise ValueError(_TOO_LARGE.format(max(len(self.row), self.length)))

    @property
    def encoded(self) -> bytes:
        """The JSON of the view. Of a Rollback without deploymentId, which belongs to the Snapshot: `listing.of_logs`
        has it."""
        return self.parts()[0]

    @property
    def console(self) -> bytes:
        """The JSON of the view with the console's additions."""
        view, _, additions = self.parts()
        return view[:-1] + b"," + additions[1:] if additions else view

    def parts(self) -> list[bytes]:
        """The JSON of the view, of the data of its server-sent event, and of the console's additions."""
        return (decompress(self.row) if self.final else self.row).split(b"\n")


class SnapshotEntry(OperationEntry):
    """A Snapshot of an environment."""

    __slots__ = (
        *("candidate", "deployment_id", "environment_name", "label", "marks", "needs", "stored_bytes", "time"),
        *("took", "trigger"),
    )

    noun, kind = "snapshot", SNAPSHOT

    def __init__(self, obj: Resource, origin: rows.Origin) -> None:
        status, view = obj.status, rows.snapshot_view(obj, origin)
        super().__init__(obj, origin, view, snapshots.additions)
        #: The deployment that caused it.
        self.deployment_id: str | None = view["deploymentId"]
        #: Of its pin.
        self.label: str | None = view["pinLabel"]
        #: Of the Environment in its namespace.
        self.environment_name = intern(obj.spec["environmentRef"]["name"])
        self.trigger = intern(view["trigger"])
        #: The point in time that it shows.
        self.time = str(status.get("consistentAt") or status.get("completedAt") or obj.meta["creationTimestamp"])
        #: Seconds from its creation to its end; 0 before that.
        self.took = (milliseconds(obj.first_seen, view["completedAt"]) or 0) / 1000 if view["completedAt"] else 0.0
        self.marks: tuple[str, ...] = (ENDED,) if self.final else (OPEN,)
        if obj.spec.get("trigger") == SAFETY_TRIGGER:
            self.marks = (SAFETY,) if self.status == "completed" else ()
        elif self.status == "completed":
            more = (VERIFIED, RESTORE_TESTED, INCOMPLETE)
            self.marks = (ENDED, COMPLETE, *(t for t in more if obj.conditions.get(t, {}).get("status") == "True"))
        #: For the rules of retention, without what Rollbacks use; None: they are not about it.
        self.candidate = candidate_of(obj.raw, used=()) if self.final else None
        #: Id of the full Snapshot that it needs; empty: none.
        self.needs = needs_of(status) if status.get("base") else ""
        self.stored_bytes: int = view["totalSizeBytes"] or 0


class RollbackEntry(OperationEntry):
    """A Rollback into an environment; never a preview."""

    __slots__ = ("control", "safety", "snapshot_id", "uses")

    noun, kind = "rollback", ROLLBACK

    def __init__(self, obj: Resource, target: rows.Origin, snapshot_id: str | None) -> None:
        """`snapshot_id`: what the status will have, where it has none yet."""
        view = rows.rollback_log(obj, target.environment_id, snapshot_id)
        super().__init__(obj, target, view, rollbacks.additions)
        #: The snapshot that it restores.
        self.snapshot_id: str | None = view["snapshotId"]
        self.control = rollbacks.control(obj)
        #: Namespace and name of the Snapshot that it keeps from being deleted.
        self.uses = snapshot_used_by(obj.raw) if not self.final else None
        #: The safety snapshot that it protects.
        self.safety = safety_of(obj.raw)


class PreviewEntry(OperationEntry):
    """A Rollback with dryRun, and the environment that it is a preview for."""

    __slots__ = ("requested_by",)

    noun, kind = "preview", ROLLBACK

    def __init__(self, obj: Resource, target: rows.Origin, view: Object) -> None:
        super().__init__(obj, target, view)
        self.requested_by = intern(str(obj.spec.get("requestedBy") or ""))


class ExtractEntry(OperationEntry):
    """An Extract, and the environment of its Snapshot."""

    __slots__ = ()

    noun, kind = "extract", EXTRACT


def packed(data: bytes) -> bytes:
    """The data in little memory. A Snapshot's row has about 2.5 KB, and packed less than half of it."""
    return compress(data, Z_BEST_SPEED)


def whole(obj: Object) -> bytes:
    """The object as JSON, without what no view shows. Raises ValueError where it is too large to be kept."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    found = encode({**obj, "metadata": meta})
    if len(found) > LARGEST:
        raise ValueError(_TOO_LARGE.format(len(found)))
    return found


_TOO_LARGE = f"it has {{}} bytes; at most {LARGEST} are kept of one object"
