"""The differentials that need a full snapshot, as the store knows them.

A differential leaves a marker below the prefix of its base, before its manifest is written. So the deletion of a full
snapshot finds the differentials that need it by one listing, also those that have no Snapshot object any more: they
were deleted with deletionPolicy Retain, or belong to another cluster. A marker counts only while the manifest of its
differential exists. It is removed with the base.
"""

import re

from ocore_crds import conditions, naming
from ocore_crds.model import UUID_PATTERN
from ocore_crds.stored.manifest import AnyManifest
from ocore_mover import manifests
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store.interface import Store

#: Ids in a message.
_SHOWN = 5


def enter(store: Store, manifest: AnyManifest) -> None:
    """Leaves the marker of a differential, whose manifest is written next. Does nothing for a full snapshot."""
    if manifest.base is None:
        return
    identity = manifest.identity
    prefix = naming.dependents_prefix(identity.environment_id, manifest.base.snapshot_id)
    store.put_if_absent(prefix + identity.snapshot_id, b"{}\n")


def living(store: Store, environment_id: str, snapshot_id: str) -> list[str]:
    """Ids of the differentials in the store that need this snapshot. One whose manifest cannot be read counts: its data
    is not deleted on a guess."""
    prefix = naming.dependents_prefix(environment_id, snapshot_id)
    names = (found.key.removeprefix(prefix) for found in store.list(prefix))
    return sorted(n for n in names if re.fullmatch(UUID_PATTERN, n) and _needs(store, environment_id, n, snapshot_id))


def check_none(store: Store, environment_id: str, snapshot_id: str) -> None:
    """Raises MoverError HasDependents where the store has differentials that need this snapshot."""
    needing = living(store, environment_id, snapshot_id)
    if not needing:
        return
    shown = ", ".join(needing[:_SHOWN]) + (", …" if len(needing) > _SHOWN else "")
    raise MoverError(
        conditions.HAS_DEPENDENTS,
        f"snapshot {snapshot_id} is not deleted: {len(needing)} differentials in {store.url} need it ({shown}). Delete"
        " them first",
    )


def _needs(store: Store, environment_id: str, dependent: str, snapshot_id: str) -> bool:
    try:
        found = manifests.find(store, environment_id, dependent)
    except Corrupt:
        return True
    except MoverError as error:
        if error.reason != conditions.MANIFEST_TOO_LARGE:
            raise
        return True
    return found is not None and found.manifest.base is not None and found.manifest.base.snapshot_id == snapshot_id
