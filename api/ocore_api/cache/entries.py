"""What is kept of each object: slots and packed bytes, never the object itself. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Any, ClassVar, TypeVar
from zlib import Z_BEST_SPEED, compress, decompress

from pydantic_core import from_json

from ocore_api.views import events, rows
from ocore_api.views.console import environments as console_environments
from ocore_api.views.console import extracts as console_extracts
from ocore_api.views.console import rollbacks as console_rollbacks
from ocore_api.views.console import snapshots as console_snapshots
from ocore_api.views.console.rollbacks import Control
from ocore_api.views.values import FINAL, Object, Resource, encode
from ocore_crds import conditions as c
from ocore_crds.naming import project_id
from ocore_crds.resources.environment import SizesStatus
from ocore_crds.rules.differentials import needs_of
from ocore_crds.rules.retention import Candidate, Safety, candidate_of, safety_of, snapshot_used_by
from ocore_kube.types import ENVIRONMENTS, EXTRACTS, POLICIES, ROLLBACKS, SNAPSHOTS

#: Kind, namespace and name.
Key = tuple[str, str, str]
SNAPSHOT, ROLLBACK, ENVIRONMENT, POLICY = SNAPSHOTS.kind, ROLLBACKS.kind, ENVIRONMENTS.kind, POLICIES.kind
EXTRACT = EXTRACTS.kind
KINDS = (ENVIRONMENT, POLICY, SNAPSHOT, ROLLBACK, EXTRACT)
#: What a Snapshot has proven: the newest one of each is at hand.
COMPLETE, VERIFIED, RESTORE_TESTED = c.COMPLETE, c.VERIFIED, c.RESTORE_TESTED


def key_of(kind: str, obj: Object) -> Key:
    """The key of an object."""
    return kind, intern(obj["metadata"]["namespace"]), obj["metadata"]["name"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is. `event`: the JSON of its server-sent event; `version`: the resourceVersion that it was
    read from."""

    version: int
    event: bytes
    final: bool


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What every kind has."""

    #: For people, and in the names of events.
    noun: ClassVar[str]
    #: Of the object.
    kind: ClassVar[str]

    namespace: str
    name: str
    uid: str
    id: str
    created: str  # by the API server, or earlier: decides who has an id
    newness: str  # see `order_of`
    version: int
    environment_id: str  # empty: unknown
    project_id: str  # empty: unknown
    environment_type: str
    refused: bool  # another object has its id
    deleting: bool
    recorded: bool  # the operator has written its id

    @property
    def key(self) -> Key:
        """Kind, namespace and name."""
        return self.kind, self.namespace, self.name

    @property
    def order(self) -> tuple[str, str]:
        """Newer is larger."""
        return self.newness, self.id


@dataclass(frozen=True, slots=True, eq=False)
class EnvironmentEntry(Entry):
    """An Environment. `id` and `environment_id` are the same."""

    noun, kind = "environment", ENVIRONMENT

    sizes: SizesStatus | None
    problem: tuple[str, str] | None  # reason and message of Ready=False, unless a probe is under way
    operation: tuple[str, str] | None  # kind and name of the operation that has the operation lock
    operation_since: str
    ready: bool | None
    rollback_ready: bool | None
    probed_at: str | None  # when the newest probe began
    row: bytes  # JSON of what the console's row has of the Environment alone
    details: bytes  # the same of its details, packed


@dataclass(frozen=True, slots=True, eq=False)
class OperationEntry(Entry):
    """A Snapshot, Rollback or Extract."""

    status: str  # pending, running, completed or failed
    row: bytes  # the view, the event and the console's additions, each on a line; packed if status is final
    length: int  # bytes of the view
    deployment_id: str | None  # of a Snapshot: the deployment that caused it
    snapshot_id: str | None  # of a Rollback: the snapshot that it restores

    @property
    def encoded(self) -> bytes:
        """The JSON of the view. Of a Rollback without deploymentId, which belongs to the Snapshot: `listing.of_logs`
        has it."""
        return self._parts()[0]

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self.version, self._parts()[1], self.final)

    @property
    def final(self) -> bool:
        """Whether it never changes again but for pins and retention."""
        return self.status in FINAL

    @property
    def console(self) -> bytes:
        """The JSON of the view with the console's additions."""
        view, _, additions = self._parts()
        return view[:-1] + b"," + additions[1:] if additions else view

    def _parts(self) -> tuple[bytes, bytes, bytes]:
        view, event, additions = (decompress(self.row) if self.final else self.row).split(b"\n")
        return view, event, additions


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotEntry(OperationEntry):
    """A Snapshot."""

    noun, kind = "snapshot", SNAPSHOT

    environment_name: str  # of the Environment in its namespace
    trigger: str
    time: str  # the point in time that it shows
    proven: tuple[str, ...]  # of COMPLETE, VERIFIED and RESTORE_TESTED
    candidate: Candidate | None  # for the rules of retention, without what Rollbacks use; None: they are not about it
    needs: str  # id of the full Snapshot that it needs; empty: none
    stored_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class RollbackEntry(OperationEntry):
    """A Rollback; never a preview. `environment_id` is its target."""

    noun, kind = "rollback", ROLLBACK

    control: Control
    uses: tuple[str, str] | None  # namespace and name of the Snapshot that it keeps from being deleted
    safety: Safety | None  # the safety snapshot that it protects


@dataclass(frozen=True, slots=True, eq=False)
class PreviewEntry(OperationEntry):
    """A Rollback with dryRun. `environment_id` is what it is a preview for."""

    noun, kind = "preview", ROLLBACK


@dataclass(frozen=True, slots=True, eq=False)
class ExtractEntry(OperationEntry):
    """An Extract. `environment_id` is that of its Snapshot."""

    noun, kind = "extract", EXTRACT


OperationT = TypeVar("OperationT", bound=OperationEntry)


def environment_entry(obj: Resource) -> EnvironmentEntry:
    """The entry of an Environment. Its id is empty before the operator has written it: until then another one may have
    it."""
    status = obj.status
    id_ = str(status.get("id") or "")
    sizes, operation, row = status.get("sizes"), status.get("operation"), console_environments.row(obj)
    origin = rows.Origin(id_, project_id(obj.spec.get("projectId"), obj.meta["namespace"]), "", obj.spec["type"])
    return EnvironmentEntry(
        **_common(obj, id_, origin),
        created=str(obj.meta["creationTimestamp"]),
        newness="",
        sizes=SizesStatus.model_validate(sizes, extra="ignore") if sizes else None,
        problem=_problem(obj),
        operation=(operation["kind"], operation["name"]) if operation else None,
        operation_since=str(operation["since"]) if operation else "",
        ready=row["ready"],
        rollback_ready=row["rollbackReady"],
        probed_at=row["probedAt"],
        row=encode(row),
        details=packed(encode(console_environments.details(obj))),
    )


def snapshot_entry(obj: Resource, origin: rows.Origin) -> SnapshotEntry:
    """The entry of a Snapshot of that environment."""
    view = rows.snapshot_view(obj, origin)
    proven = [COMPLETE, *(t for t in (VERIFIED, RESTORE_TESTED) if obj.conditions.get(t, {}).get("status") == "True")]
    return _operation(
        *(SnapshotEntry, obj, origin, view, console_snapshots.additions),
        environment_name=intern(obj.spec["environmentRef"]["name"]),
        trigger=intern(view["trigger"]),
        time=console_snapshots.shown_time(obj),
        proven=tuple(proven) if obj.state == "completed" else (),
        candidate=candidate_of(obj.raw, used=()),
        needs=needs_of(obj.status),
        stored_bytes=view["totalSizeBytes"] or 0,
    )


def rollback_entry(obj: Resource, target: rows.Origin, snapshot_id: str | None) -> RollbackEntry:
    """The entry of a Rollback into that environment. `snapshot_id`: what the status will have, where it has none
    yet."""
    view = rows.rollback_log(obj, target.environment_id, snapshot_id, None)
    del view["deploymentId"]
    return _operation(
        *(RollbackEntry, obj, target, view, console_rollbacks.additions),
        control=console_rollbacks.control(obj),
        uses=snapshot_used_by(obj.raw) if obj.state not in FINAL else None,
        safety=safety_of(obj.raw),
    )


def preview_entry(obj: Resource, target: rows.Origin, snapshot_id: str | None) -> PreviewEntry:
    """The entry of a Rollback with dryRun. `snapshot_id`: what the status will have, where it has none yet."""
    return _operation(PreviewEntry, obj, target, console_rollbacks.preview(obj, target.environment_id, snapshot_id))


def extract_entry(obj: Resource, origin: rows.Origin, snapshot_id: str | None) -> ExtractEntry:
    """The entry of an Extract of a Snapshot of that environment. `snapshot_id`: what the status will have, where it has
    none yet."""
    view = console_extracts.extract_view(obj, origin.environment_id, snapshot_id)
    return _operation(ExtractEntry, obj, origin, view)


def _operation(
    made: type[OperationT],
    obj: Resource,
    origin: rows.Origin,
    view: Object,
    additions: Callable[[Resource, Object], Object] | None = None,
    **more: Any,
) -> OperationT:
    """The entry of an operation. `additions`: what the console's API has beside the view; None: nothing."""
    event, status = events.progress_event(obj), view["status"]
    encoded = encode(view)
    row = b"\n".join((encoded, encode(event), encode(additions(obj, event)) if additions is not None else b""))
    return made(
        **_common(obj, view["id"], origin),
        created=obj.first_seen,
        newness=obj.order,
        status=intern(status),
        row=packed(row) if status in FINAL else row,
        length=len(encoded),
        deployment_id=view.get("deploymentId"),
        snapshot_id=view.get("snapshotId"),
        **more,
    )


def event_of(progress: Progress) -> Object:
    """The data of the event."""
    found: Object = from_json(progress.event)
    return found


def packed(data: bytes) -> bytes:
    """The data in little memory. A Snapshot's row has about 2.5 KB, and packed less than half of it."""
    return compress(data, Z_BEST_SPEED)


def _common(obj: Resource, id_: str, origin: rows.Origin) -> Object:
    """The fields that every kind has, but for its times."""
    uid = str(obj.meta["uid"])
    return {
        "namespace": intern(obj.meta["namespace"]),
        "name": obj.meta["name"],
        "uid": uid,
        "id": uid if id_ == uid else id_,
        "version": int(obj.meta["resourceVersion"]),
        "environment_id": intern(origin.environment_id),
        "project_id": intern(origin.project_id),
        "environment_type": intern(origin.type),
        "refused": obj.refused,
        "deleting": obj.deleting,
        "recorded": bool(obj.status.get("id")),
    }


def _problem(obj: Resource) -> tuple[str, str] | None:
    found = obj.conditions.get(c.READY, {})
    if found.get("status") != "False" or found.get("reason") in (c.PENDING, c.PROBING, c.JOB_PENDING):
        return None
    return str(found.get("reason") or ""), str(found.get("message") or "")
