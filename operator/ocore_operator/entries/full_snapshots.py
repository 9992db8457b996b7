"""Full Snapshots and the differentials that need them, as the catalog knows them. Pure, without a request.

Three things must follow from one Snapshot to another: a full one lists those that need it (`status.dependents`), those
say so where it is corrupt, until it is whole again, and a full one ends the Job identity of those before it. Each is
done by the reconcile of the Snapshot that changes. This module finds the Snapshots for which it remains to be done,
whatever was missed.
"""

from collections.abc import Iterator

from ocore_operator import clock
from ocore_operator.entries.snapshots import (
    SnapshotEntry,
    all_holding,
    holding,
    needed,
    needing,
    of_environment,
    protecting,
)
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key


def needs(catalog: Catalog, namespace: str, name: str, full_id: str) -> bool:
    """Whether the Snapshot of this name needs the full one."""
    found = catalog.find(SnapshotEntry, namespace, name)
    return found is not None and found.pairing.needs == full_id


def unlisted(catalog: Catalog, full: SnapshotEntry) -> list[str]:
    """Names of terminal Snapshots that need the full one and are not entered in it: they were found in the store. One
    that runs is entered by its own reconcile."""
    listed = full.pairing.dependents
    found = needing(catalog, full.key.namespace, full.id)
    return sorted(e.key.name for e in found if e.terminal and e.key.name not in listed)


def released(catalog: Catalog, full: SnapshotEntry) -> list[str]:
    """Names that are entered in the full one, of Snapshots that do not need it any more or are gone."""
    listed = full.pairing.dependents
    return [name for name in listed if not needs(catalog, full.key.namespace, name, full.id)]


def unsettled(catalog: Catalog, key: Key) -> bool:
    """Whether this Snapshot must be reconciled because of what is known of others."""
    entry = catalog.find(SnapshotEntry, key.namespace, key.name)
    if entry is None:
        return False
    if entry.pairing.dependents and released(catalog, entry):
        return True
    if entry.has_data and unlisted(catalog, entry):
        return True
    return is_of_corrupt(catalog, entry) or is_of_whole(catalog, entry) or is_replaced(catalog, entry)


def is_replaced(catalog: Catalog, entry: SnapshotEntry) -> bool:
    """Whether a Job identity opens this Snapshot, and its environment has a newer full one.

    Not a safety snapshot: it is taken while its Rollback restores an older one.
    """
    held = entry.pairing.held
    if held is None:
        return False
    every = of_environment(catalog, entry.key.namespace, entry.environment)
    fulls = (each.pairing.full for each in every if each.good)
    same = (full for full in fulls if full is not None and full.environment_id == held.environment_id)
    return any(clock.parse(full.time) > clock.parse(held.time) for full in same)


def is_of_corrupt(catalog: Catalog, entry: SnapshotEntry) -> bool:
    """Whether this Snapshot is Complete and needs a full one that is corrupt."""
    if entry.phase != "Complete" or not entry.pairing.needs:
        return False
    full = catalog.of_id(SnapshotEntry, entry.key.namespace, entry.pairing.needs)
    return full is not None and full.phase == "Corrupt"


def is_of_whole(catalog: Catalog, entry: SnapshotEntry) -> bool:
    """Whether this Snapshot is Corrupt only because of a full one that is whole again, in its own store."""
    if entry.phase != "Corrupt" or not entry.of_corrupt:
        return False
    full = catalog.of_id(SnapshotEntry, entry.key.namespace, entry.pairing.needs)
    return full is not None and full.phase == "Complete" and full.verified != "False"


def related(catalog: Catalog, key: Key) -> Iterator[Key]:
    """The Snapshots that a change, or the end, of this one may leave unsettled."""
    for full in protecting(catalog, key.namespace, key.name):
        yield full.key
    entry = catalog.find(SnapshotEntry, key.namespace, key.name)
    if entry is None:
        return
    if entry.pairing.needs:
        full_ = catalog.of_id(SnapshotEntry, key.namespace, entry.pairing.needs)
        if full_ is not None:
            yield full_.key
    for dependent in needing(catalog, key.namespace, entry.id):
        yield dependent.key
    if entry.pairing.full is not None:
        for older in holding(catalog, key.namespace, entry.environment):
            yield older.key


def all_unsettled(catalog: Catalog) -> list[Key]:
    """All Snapshots that must be reconciled because of others."""
    found = [entry.key for entry in all_holding(catalog) if is_replaced(catalog, entry)]
    for key, full in needed(catalog).items():
        if unsettled(catalog, key):
            found.append(key)
        for each in needing(catalog, key.namespace, full.id):
            if is_of_corrupt(catalog, each) or is_of_whole(catalog, each):
                found.append(each.key)
    return list(dict.fromkeys(found))


def suspects(catalog: Catalog, namespace: str, environment: str) -> set[str]:
    """Ids of full Snapshots of which a differential was found corrupt: its own bytes or those of the full one, which
    may be read by no other."""
    found = (e.pairing.needs for e in of_environment(catalog, namespace, environment) if e.phase == "Corrupt")
    return {id_ for id_ in found if id_}
