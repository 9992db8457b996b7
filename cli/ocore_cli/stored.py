"""Which Snapshots have data in a store. Pure."""

from ocore_crds.resources.snapshot import SnapshotStatus

from .objects import Object


def has_data(obj: Object, status: SnapshotStatus, store: str) -> bool:
    """Whether the SnapshotStore has a Snapshot's data, or should. What is deleted on purpose must not come back."""
    if "deletionTimestamp" in obj["metadata"] or status.manifest_key is None or status.manifest_sha256 is None:
        return False
    remote = status.remote
    own = status.store_name == store and (remote is None or remote.local_deleted_at is None)
    return own or (remote is not None and remote.store_name == store and remote.state in ("Completed", "Failed"))
