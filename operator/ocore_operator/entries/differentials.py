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


@dataclass(frozen=True, slots=True)
class Pairing:
    """One Snapshot."""

    #: Id of the full Snapshot without which this one cannot be restored; empty: none.
    needs: str = ""
    #: Names of the Snapshots that are entered in it as needing it.
    dependents: tuple[str, ...] = ()
    full: Full | None = None


NONE = Pairing()


def pairing_of(snapshot: Object) -> Pairing:
    """Of a Snapshot as the API server has it."""
    status = snapshot.get("status") or {}
    found = Pairing(needs_of(status), tuple(dict.fromkeys(status.get("dependents") or ())), full_of(snapshot))
    return found if found != NONE else NONE


def full_of(snapshot: Object) -> Full | None:
    """None where it is not a full Snapshot with a filestore, or not Complete, or where only its remote copy is left.
    None also of an encrypted one: a Job that takes a snapshot cannot read it."""
    status, meta = snapshot.get("status") or {}, snapshot["metadata"]
    conditions = status.get("conditions") or ()
    if status.get("fullFilestore") is not True or c.outcome(conditions) != "Complete":
        return None
    if (status.get("remote") or {}).get("only"):
        return None
    if status.get("encryption"):
        return None
    source, files = status.get("source") or {}, status.get("filestore")
    return Full(
        name=meta["name"],
        id=str(status.get("id") or meta["uid"]),
        environment_id=source.get("environmentId") or "",
        store_id=status.get("storeId") or "",
        files=Files(files["claimName"], files.get("path") or "", files["layout"]) if files else None,
        time=status.get("consistentAt") or status.get("completedAt") or meta["creationTimestamp"],
        manifest_sha256=status.get("manifestSha256") or "",
        sound=not remote_copy.damaged(status) and status.get("phase") != "Corrupt",
        deleting="deletionTimestamp" in meta,
    )
