"""``status.remote`` of a Snapshot: its copy in the remote store of its Environment. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ocore_crds.conditions import VERIFIED, raw_status
from ocore_crds.model import Sentence, StatusModel, Timestamp
from ocore_crds.stored.snapshot_state import StoredState

#: Remaining work of the operator: `Failed` is tried again, rarely.
UNFINISHED = ("Pending", "Copying", "Failed")

#: As the REST API and ``recoveryEvidence.remoteCopyState`` name the states.
RemoteCopyState = Literal["none", "pending", "copying", "completed", "failed"]


class CopyPlace(StatusModel):
    """Where a whole copy of a Snapshot is."""

    store_name: str = Field(description="SnapshotStore of the copy.")
    store_id: str = Field(description="Id that this store had when the copy was complete.")
    requested_at: Timestamp = Field(description="Since when that copy was wanted.")


class RemoteCopy(StatusModel):
    """The copy of a Snapshot in the remote store."""

    state: Literal["Pending", "Copying", "Completed", "Failed"] = Field(
        description=(
            "`Pending`: it waits, or an attempt failed and is repeated. `Failed`: a person must change something; it is"
            " still tried a few times a day."
        )
    )
    store_name: str = Field(description="SnapshotStore of the copy, in the namespace of the Snapshot.")
    store_id: str | None = Field(default=None, description="Id of that store, from the first attempt on.")
    requested_at: Timestamp = Field(description="Since when a copy is wanted.")
    started_at: Timestamp | None = Field(default=None, description="When the last attempt began.")
    completed_at: Timestamp | None = Field(default=None, description="When the copy was complete.")
    attempts: int = Field(default=0, description="Number of attempts so far. An attempt continues the one before.")
    next_attempt_at: Timestamp | None = Field(
        default=None, description="After a failed attempt: when the next one begins."
    )
    job_name: str | None = Field(default=None, description="Job of the running attempt.")
    message: Sentence = Field(
        default="",
        description=(
            "What it waits for, or why the last attempt failed. Of a complete copy: why something of it is not done"
            " yet."
        ),
    )
    manifest_sha256: str | None = Field(default=None, description="SHA-256 of the manifest in the remote store.")
    bytes: int = Field(default=0, description="Bytes of the copy; while it runs, of all that is to be copied.")
    bytes_done: int = Field(default=0, description="Bytes that are copied so far.")
    stored_state: StoredState | None = Field(
        default=None,
        description=(
            "Pin, retention and deletionPolicy as the remote store has them. Absent: unknown, because the copy is not"
            " complete or an earlier version made it."
        ),
    )
    only: bool = Field(
        default=False,
        description=(
            "Retention has let go of the data in the Snapshot's own store, or is deleting it: the Snapshot is restored"
            " from the copy."
        ),
    )
    local_deleted_at: Timestamp | None = Field(
        default=None, description="When the data in the Snapshot's own store was deleted."
    )

    checked_at: Timestamp | None = Field(
        default=None, description="When the remote store was last asked for every object of the copy, and had them."
    )
    check_requested_at: Timestamp | None = Field(
        default=None, description="Since when another such check is wanted; absent: none is."
    )
    replaces: CopyPlace | None = Field(
        default=None,
        description=(
            "An earlier copy, in the store that the Environment named before. It is deleted once this one is complete."
        ),
    )

    @property
    def complete(self) -> bool:
        """Whether the Snapshot can be restored from the copy in `store_name`."""
        return self.state == "Completed"

    @property
    def readable(self) -> CopyPlace | None:
        """Where the Snapshot can be restored from beside its own store: while a copy replaces another one, from that
        one."""
        if self.complete:
            return CopyPlace(store_name=self.store_name, store_id=self.store_id or "", requested_at=self.requested_at)
        return self.replaces


def state_of(remote: RemoteCopy | None) -> RemoteCopyState:
    """The state as the REST API names it."""
    return named(remote.state if remote is not None else None)


def named(state: str | None) -> RemoteCopyState:
    """The same, of the field's value; None: there is no copy. A value that this version does not know is `pending`."""
    match state:
        case None:
            return "none"
        case "Copying":
            return "copying"
        case "Completed":
            return "completed"
        case "Failed":
            return "failed"
        case _:
            return "pending"


def work_remains(snapshot: Mapping[str, Any]) -> bool:
    """Whether the operator has something to do for the copy, or for what retention has let go of. Cheap, over raw
    JSON."""
    status = snapshot.get("status") or {}
    remote = status.get("remote")
    if not remote:
        return False
    if remote.get("checkRequestedAt"):
        return True
    if remote.get("only"):
        return not remote.get("localDeletedAt")
    if remote.get("state") in UNFINISHED or remote.get("replaces"):
        return True
    return releases(snapshot) is not None


def damaged(status: Mapping[str, Any]) -> bool:
    """Whether bytes in the Snapshot's own store were found to differ. `status`: raw JSON."""
    return raw_status(status.get("conditions") or (), VERIFIED) == "False"


def releases(snapshot: Mapping[str, Any]) -> Literal["Local", "Remote"] | None:
    """Which copy retention has let go of, by its verdict in the Snapshot's status (raw JSON); None: neither, or the
    whole Snapshot.

    The one that goes is never the only whole one: the remote copy goes only while the data in the Snapshot's own store
    exists and is not known to be damaged.
    """
    status, spec = snapshot.get("status") or {}, snapshot.get("spec") or {}
    remote = status.get("remote") or {}
    if remote.get("state") != "Completed" or spec.get("retention") != "Policy" or remote.get("localDeletedAt"):
        return None
    if spec.get("pin") is not None:
        return None
    kept, kept_remotely = status.get("keptBy"), status.get("remoteKeptBy")
    if kept == [] and kept_remotely and not remote.get("only"):
        return "Local"
    if kept and kept_remotely == [] and not remote.get("only") and not damaged(status):
        return "Remote"
    return None
