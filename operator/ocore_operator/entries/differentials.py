"""What a Snapshot has to do with differentials, from its raw JSON: the full one that it needs, those that need it.
Pure."""

from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds.resources import remote_copy
from ocore_crds.rules.differentials import needs_of
from ocore_operator.kube.resources import Object


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a filestore were."""

    claim: str
    path: str
    layout: str


@dataclass(frozen=True, slots=True)
class Full:
    """A Complete Snapshot that has its whole filestore itself, in its own store."""

    name: str
    id: str
    environment_id: str
    store_id: str
    #: None: unknown, because it was adopted.
    files: Files | None
    #: The point in time that it shows.
    time: str
    manifest_sha256: str
    #: No one has found it corrupt.
    sound: bool
    deleting: bool
    #: Of an encrypted one: for whom it is. None: it is not encrypted.
    recipients: tuple[str, ...] | None = None
    #: Secret of the Job identity that opens it; empty: none does.
    job_identity: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """The Secret of a Job identity that opens a Complete Snapshot."""

    secret: str
    environment_id: str
    #: The point in time that the Snapshot shows.
    time: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """One Snapshot."""

    #: Id of the full Snapshot without which this one cannot be restored; empty: none.
    needs: str = ""
    #: Names of the Snapshots that are entered in it as needing it.
    dependents: tuple[str, ...] = ()
    full: Full | None = None
    held: Held | None = None


NONE = Pairing()


def pairing_of(snapshot: Object) -> Pairing:
    """Of a Snapshot as the API server has it."""
    status = snapshot.get("status") or {}
    listed = tuple(dict.fromkeys(status.get("dependents") or ()))
    found = Pairing(needs_of(status), listed, full_of(snapshot), _held_of(snapshot))
    return found if found != NONE else NONE


def _held_of(snapshot: Object) -> Held | None:
    status = snapshot.get("status") or {}
    secret = (status.get("encryption") or {}).get("jobIdentitySecret")
    if not secret or not c.is_terminal(status.get("conditions") or ()):
        return None
    return Held(secret, (status.get("source") or {}).get("environmentId") or "", _time_of(snapshot))


def _time_of(snapshot: Object) -> str:
    status = snapshot.get("status") or {}
    return str(status.get("consistentAt") or status.get("completedAt") or snapshot["metadata"]["creationTimestamp"])


def full_of(snapshot: Object) -> Full | None:
    """None where it is not a full Snapshot with a filestore, or not Complete, or where only its remote copy is left."""
    status, meta = snapshot.get("status") or {}, snapshot["metadata"]
    conditions = status.get("conditions") or ()
    if status.get("fullFilestore") is not True or c.outcome(conditions) != "Complete":
        return None
    if (status.get("remote") or {}).get("only"):
        return None
    encryption = status.get("encryption") or {}
    source, files = status.get("source") or {}, status.get("filestore")
    return Full(
        name=meta["name"],
        id=str(status.get("id") or meta["uid"]),
        environment_id=source.get("environmentId") or "",
        store_id=status.get("storeId") or "",
        files=Files(files["claimName"], files.get("path") or "", files["layout"]) if files else None,
        time=_time_of(snapshot),
        manifest_sha256=status.get("manifestSha256") or "",
        sound=not remote_copy.damaged(status) and status.get("phase") != "Corrupt",
        deleting="deletionTimestamp" in meta,
        recipients=tuple(encryption.get("recipients") or ()) if status.get("encryption") else None,
        job_identity=encryption.get("jobIdentitySecret") or "",
    )
