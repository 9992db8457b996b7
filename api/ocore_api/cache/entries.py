"""What is kept of each object: slots and packed bytes, never the object itself. Pure."""

from dataclasses import dataclass
from sys import intern
from typing import ClassVar, TypeVar
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


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of an environment in bytes, and when they were measured."""

    database_bytes: int
    filestore_bytes: int
    measured_at: str | None
    attempted_at: str | None
    attempt_error: str


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What every kind has."""

    #: For people, and in the names of events.
    noun: ClassVar[str]

    kind: str
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

    noun = "environment"

    sizes: Sizes | None
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

    noun = "snapshot"

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

    noun = "rollback"

    control: Control
    uses: tuple[str, str] | None  # namespace and name of the Snapshot that it keeps from being deleted
    safety: Safety | None  # the safety snapshot that it protects


@dataclass(frozen=True, slots=True, eq=False)
class PreviewEntry(OperationEntry):
    """A Rollback with dryRun. `environment_id` is what it is a preview for."""

    noun = "preview"


@dataclass(frozen=True, slots=True, eq=False)
class ExtractEntry(OperationEntry):
    """An Extract. `environment_id` is that of its Snapshot."""

    noun = "extract"


#: Type of an entry → its kind.
KIND_OF: dict[type[Entry], str] = {
    EnvironmentEntry: ENVIRONMENT,
    SnapshotEntry: SNAPSHOT,
    RollbackEntry: ROLLBACK,
    PreviewEntry: ROLLBACK,
    ExtractEntry: EXTRACT,
}

SimpleT = TypeVar("SimpleT", PreviewEntry, ExtractEntry)


def environment_entry(obj: Resource) -> EnvironmentEntry:
    """The entry of an Environment. Its id is empty before the operator has written it: until then another one may have
    it."""
    status, meta = obj.status, obj.meta
    id_ = str(status.get("id") or "")
    sizes, operation, row = status.get("sizes"), status.get("operation"), console_environments.row(obj)
    return EnvironmentEntry(
        *_common(ENVIRONMENT, obj, id_),
        environment_id=id_,
        project_id=intern(project_id(obj.spec.get("projectId"), meta["namespace"])),
        environment_type=intern(obj.spec["type"]),
        refused=obj.refused,
        deleting="deletionTimestamp" in meta,
        recorded=bool(id_),
        sizes=_sizes(sizes) if sizes else None,
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
    state = obj.state
    view, event = rows.snapshot_view(obj, origin), events.progress_event(obj)
    row, length = _row(view, event, console_snapshots.additions(obj, event), state)
    proven = [COMPLETE, *(t for t in (VERIFIED, RESTORE_TESTED) if obj.conditions.get(t, {}).get("status") == "True")]
    return SnapshotEntry(
        *_common(SNAPSHOT, obj, view["id"]),
        *_belonging(obj, origin),
        status=intern(state),
        row=row,
        length=length,
        deployment_id=view["deploymentId"],
        snapshot_id=None,
        environment_name=intern(obj.spec["environmentRef"]["name"]),
        trigger=intern(view["trigger"]),
        time=console_snapshots.shown_time(obj),
        proven=tuple(proven) if state == "completed" else (),
        candidate=candidate_of(obj.raw, used=()),
        needs=needs_of(obj.status),
        stored_bytes=view["totalSizeBytes"] or 0,
    )


def rollback_entry(obj: Resource, target: rows.Origin, snapshot_id: str | None) -> RollbackEntry:
    """The entry of a Rollback into that environment. `snapshot_id`: what the status will have, where it has none
    yet."""
    state = obj.state
    view = rows.rollback_log(obj, target.environment_id, snapshot_id, None)
    del view["deploymentId"]
    event = events.progress_event(obj)
    row, length = _row(view, event, console_rollbacks.additions(obj, event), state)
    return RollbackEntry(
        *_common(ROLLBACK, obj, view["id"]),
        *_belonging(obj, target),
        status=intern(state),
        row=row,
        length=length,
        deployment_id=None,
        snapshot_id=view["snapshotId"],
        control=console_rollbacks.control(obj),
        uses=snapshot_used_by(obj.raw) if state not in FINAL else None,
        safety=safety_of(obj.raw),
    )


def preview_entry(obj: Resource, target: rows.Origin, snapshot_id: str | None) -> PreviewEntry:
    """The entry of a Rollback with dryRun. `snapshot_id`: what the status will have, where it has none yet."""
    view = console_rollbacks.preview(obj, target.environment_id, snapshot_id)
    return _simple(PreviewEntry, ROLLBACK, obj, target, view)


def extract_entry(obj: Resource, origin: rows.Origin, snapshot_id: str | None) -> ExtractEntry:
    """The entry of an Extract of a Snapshot of that environment. `snapshot_id`: what the status will have, where it has
    none yet."""
    view = console_extracts.extract_view(obj, origin.environment_id, snapshot_id)
    return _simple(ExtractEntry, EXTRACT, obj, origin, view)


def _simple(made: type[SimpleT], kind: str, obj: Resource, origin: rows.Origin, view: Object) -> SimpleT:
    """The entry of an operation whose view is the console's only."""
    row, length = _row(view, events.progress_event(obj), None, view["status"])
    return made(
        *_common(kind, obj, view["id"]),
        *_belonging(obj, origin),
        status=intern(view["status"]),
        row=row,
        length=length,
        deployment_id=None,
        snapshot_id=view["snapshotId"],
    )


def event_of(progress: Progress) -> Object:
    """The data of the event."""
    found: Object = from_json(progress.event)
    return found


def packed(data: bytes) -> bytes:
    """The data in little memory. A Snapshot's row has about 2.5 KB, and packed less than half of it."""
    return compress(data, Z_BEST_SPEED)


def _common(kind: str, obj: Resource, id_: str) -> tuple[str, str, str, str, str, str, str, int]:
    meta = obj.meta
    uid, version = str(meta["uid"]), int(meta["resourceVersion"])
    created, newness = str(meta["creationTimestamp"]), ""
    if kind != ENVIRONMENT:
        created, newness = obj.first_seen, obj.order
    return (
        kind, intern(meta["namespace"]), meta["name"], uid, uid if id_ == uid else id_, created, newness, version,
    )  # fmt: skip


def _belonging(obj: Resource, origin: rows.Origin) -> tuple[str, str, str, bool, bool, bool]:
    """The fields of an operation from `environment_id` to `recorded`."""
    return (
        intern(origin.environment_id), intern(origin.project_id), intern(origin.type), obj.refused,
        obj.deleting, bool(obj.status.get("id")),
    )  # fmt: skip


def _problem(obj: Resource) -> tuple[str, str] | None:
    found = obj.conditions.get(c.READY, {})
    if found.get("status") != "False" or found.get("reason") in (c.PENDING, c.PROBING, c.JOB_PENDING):
        return None
    return str(found.get("reason") or ""), str(found.get("message") or "")


def _sizes(found: Object) -> Sizes:
    return Sizes(
        database_bytes=int(found.get("databaseBytes") or 0),
        filestore_bytes=int(found.get("filestoreBytes") or 0),
        measured_at=found.get("measuredAt"),
        attempted_at=found.get("attemptedAt"),
        attempt_error=str(found.get("attemptError") or ""),
    )


def _row(view: Object, event: Object, additions: Object | None, state: str) -> tuple[bytes, int]:
    """The row, and the length of the view in it."""
    encoded = encode(view)
    whole = b"\n".join((encoded, encode(event), encode(additions) if additions is not None else b""))
    return packed(whole) if state in FINAL else whole, len(encoded)
