"""Whether this user can use a store on a volume for one environment: what a snapshot reads, and where it creates its
folder."""

from dataclasses import dataclass

from ocore_crds import conditions, naming
from ocore_crds.reports.base import Finding
from ocore_mover.errors import StoreError
from ocore_mover.store.folder import FolderStore


@dataclass(frozen=True)
class Access:
    """What prevents snapshots, and what only the store's own probe judges. Both are empty where all is well."""

    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


def check(store: FolderStore, environment_id: str) -> Access:
    """Reads the store's id and the newest manifest of the environment, and creates and removes an empty file. A store
    that is full or fails is a warning. Parents that a snapshot need not change are not tried: they may belong to the
    user of another environment."""
    if not store.path(naming.STORE_ID_KEY).parent.is_dir():
        return Access()  # the store's own probe says so
    snapshots = naming.snapshots_prefix(environment_id)
    try:
        store.get(naming.STORE_ID_KEY, limit=65536)
        store.try_create(snapshots)
        for snapshot_id in store.newest_folders(snapshots):
            if store.try_read(naming.manifest_key(environment_id, snapshot_id)):
                break
    except StoreError as error:
        if error.reason == conditions.STORE_NOT_WRITABLE:
            return Access(findings=(error.finding(),))
        return Access(warnings=(error.message,))
    return Access()
