"""What a store contains: its environments and snapshots, in pages of bounded size.

What a store holds may have been written by anyone who has its keys. A key counts only where it has the layout of
docs/format.md, a manifest only where its ids are those of its key and it is readable, and everything is read with a
limit.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from ocore_crds import conditions
from ocore_crds.model import UUID_PATTERN
from ocore_mover import manifests
from ocore_mover.errors import MoverError
from ocore_mover.manifests import StoredManifest
from ocore_mover.store.interface import Store

#: Threads that read manifests at the same time, and share the Job's memory.
READERS = 8
ENVIRONMENTS = "environments/"
#: Folders that are looked at for one readable manifest of an environment that is not ours.
FOREIGN_TRIES = 5
#: Folders of all environments that are not ours which are counted, at most.
FOREIGN_COUNTED = 100_000
#: What makes a manifest unreadable, and not the store: it is counted and named, and the others are read.
UNREADABLE = (conditions.CORRUPT, conditions.MANIFEST_TOO_LARGE, conditions.SIGNATURE_INVALID)

_UUID = re.compile(UUID_PATTERN)


def environments(store: Store, *, hidden: bool = False) -> Iterator[str]:
    """Ids of the environments that have anything in the store, sorted. `hidden`: see :func:`snapshots`."""
    return (name for name in _folders(store, ENVIRONMENTS, hidden=hidden) if _UUID.fullmatch(name))


def snapshots(store: Store, environment_id: str, *, hidden: bool = False) -> Iterator[str]:
    """Ids of the environment's snapshots, with or without a manifest, sorted. `hidden`: also of those of which only
    older versions exist."""
    listed = _folders(store, f"{ENVIRONMENTS}{environment_id}/snapshots/", hidden=hidden)
    return (name for name in listed if _UUID.fullmatch(name))


def _folders(store: Store, prefix: str, *, hidden: bool) -> Iterator[str]:
    return store.all_folders(prefix) if hidden else store.folders(prefix)


def after(store: Store, wanted: Mapping[str, str], position: str, *, hidden: bool = False) -> Iterator[tuple[str, str]]:
    """Environment and snapshot of each folder of the wanted environments behind the position ``environment/snapshot``,
    sorted. `hidden`: see :func:`snapshots`."""
    for environment_id in sorted(wanted):
        for snapshot_id in snapshots(store, environment_id, hidden=hidden):
            if f"{environment_id}/{snapshot_id}" > position:
                yield environment_id, snapshot_id


def read(
    store: Store, environment_id: str, snapshot_id: str, *, signers: Sequence[str] = (), hidden: bool = False
) -> StoredManifest | MoverError | None:
    """The manifest; why it cannot be read; None where there is none. `signers`: one that none of these keys has signed
    cannot be read. `hidden`: see :func:`~.manifests.find`. Raises MoverError where the store does not answer."""
    try:
        return manifests.find(store, environment_id, snapshot_id, readers=READERS, signers=signers, hidden=hidden)
    except MoverError as error:
        if error.reason not in UNREADABLE:
            raise
        return error


def first_of(store: Store, environment_id: str, *, hidden: bool = False) -> tuple[StoredManifest | None, int]:
    """A manifest of the environment that can be read, and how many snapshots it has at most. `hidden`: see
    :func:`snapshots`."""
    found: StoredManifest | None = None
    count = 0
    for count, snapshot_id in enumerate(islice(snapshots(store, environment_id, hidden=hidden), FOREIGN_COUNTED), 1):
        if found is None and count <= FOREIGN_TRIES:
            each = read(store, environment_id, snapshot_id, hidden=hidden)
            found = each if isinstance(each, StoredManifest) else None
    return found, count
