"""What is kept of each object: slots and packed bytes, never the object itself. Pure."""

from dataclasses import dataclass
from sys import intern
from zlib import Z_BEST_SPEED, compress, decompress

from pydantic_core import from_json

from ocore_api.views import events, rows
from ocore_api.views.values import (
    FINAL,
    Object,
    by_type,
    encode,
    first_seen,
    is_refused,
    operation_status,
    order_of,
    status_of,
)
from ocore_crds import conditions as c
from ocore_crds.naming import project_id
from ocore_kube.types import ENVIRONMENTS, POLICIES, ROLLBACKS, SNAPSHOTS

#: Kind, namespace and name.
Key = tuple[str, str, str]
SNAPSHOT, ROLLBACK, ENVIRONMENT, POLICY = SNAPSHOTS.kind, ROLLBACKS.kind, ENVIRONMENTS.kind, POLICIES.kind
KINDS = (ENVIRONMENT, POLICY, SNAPSHOT, ROLLBACK)


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

    sizes: Sizes | None
    problem: tuple[str, str] | None  # reason and message of Ready=False, unless a probe is under way
    operation: tuple[str, str] | None  # kind and name of the operation that has the operation lock


@dataclass(frozen=True, slots=True, eq=False)
class OperationEntry(Entry):
    """A Snapshot or Rollback."""

    status: str  # pending, running, completed or failed
    row: bytes  # the view and the event, separated by a newline; packed if status is final
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

    def _parts(self) -> tuple[bytes, bytes]:
        view, _, event = (decompress(self.row) if self.final else self.row).partition(b"\n")
        return view, event


class SnapshotEntry(OperationEntry):
    """A Snapshot."""

    __slots__ = ()


class RollbackEntry(OperationEntry):
    """A Rollback; never a preview. `environment_id` is its target."""

    __slots__ = ()


def environment_entry(obj: Object) -> EnvironmentEntry:
    """The entry of an Environment. Its id is empty before the operator has written it: until then another one may have
    it."""
    status, meta = status_of(obj), obj["metadata"]
    id_ = str(status.get("id") or "")
    sizes, operation = status.get("sizes"), status.get("operation")
    return EnvironmentEntry(
        *_common(ENVIRONMENT, obj, id_),
        environment_id=id_,
        project_id=intern(project_id(obj["spec"].get("projectId"), meta["namespace"])),
        environment_type=intern(obj["spec"]["type"]),
        refused=is_refused(obj),
        deleting="deletionTimestamp" in meta,
        recorded=bool(id_),
        sizes=_sizes(sizes) if sizes else None,
        problem=_problem(obj),
        operation=(operation["kind"], operation["name"]) if operation else None,
    )


def snapshot_entry(obj: Object, origin: rows.Origin) -> SnapshotEntry:
    """The entry of a Snapshot of that environment."""
    state = operation_status(obj)
    view = rows.snapshot_view(obj, origin)
    row, length = _row(view, obj, state)
    return SnapshotEntry(
        *_common(SNAPSHOT, obj, view["id"]),
        environment_id=intern(origin.environment_id),
        project_id=intern(origin.project_id),
        environment_type=intern(origin.type),
        refused=is_refused(obj),
        deleting="deletionTimestamp" in obj["metadata"],
        recorded=bool(status_of(obj).get("id")),
        status=intern(state),
        row=row,
        length=length,
        deployment_id=view["deploymentId"],
        snapshot_id=None,
    )


def rollback_entry(obj: Object, target: rows.Origin, snapshot_id: str | None) -> RollbackEntry:
    """The entry of a Rollback into that environment. `snapshot_id`: what the status will have, where it has none
    yet."""
    state = operation_status(obj)
    view = rows.rollback_log(obj, target.environment_id, snapshot_id, None)
    del view["deploymentId"]
    row, length = _row(view, obj, state)
    return RollbackEntry(
        *_common(ROLLBACK, obj, view["id"]),
        environment_id=intern(target.environment_id),
        project_id=intern(target.project_id),
        environment_type=intern(target.type),
        refused=is_refused(obj),
        deleting="deletionTimestamp" in obj["metadata"],
        recorded=bool(status_of(obj).get("id")),
        status=intern(state),
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


def _common(kind: str, obj: Object, id_: str) -> tuple[str, str, str, str, str, str, str, int]:
    meta = obj["metadata"]
    uid, version = str(meta["uid"]), int(meta["resourceVersion"])
    created, newness = str(meta["creationTimestamp"]), ""
    if kind != ENVIRONMENT:
        created, newness = first_seen(obj), order_of(obj)
    return (
        kind, intern(meta["namespace"]), meta["name"], uid, uid if id_ == uid else id_, created, newness, version,
    )  # fmt: skip


def _problem(obj: Object) -> tuple[str, str] | None:
    found = by_type(obj).get(c.READY, {})
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


def _row(view: Object, obj: Object, state: str) -> tuple[bytes, int]:
    """The row, and the length of the view in it."""
    encoded = encode(view)
    whole = encoded + b"\n" + encode(events.progress_event(obj))
    return packed(whole) if state in FINAL else whole, len(encoded)
