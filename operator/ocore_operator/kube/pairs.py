"""Full Snapshots and the differentials that need them, as the catalog knows them. Pure, without a request.

Two things must follow from one Snapshot to another: a full one lists those that need it (`status.dependents`), and
those say so where it is corrupt. Each is done by the reconcile of the Snapshot that changes. This module finds the
Snapshots for which it remains to be done, whatever was missed.
"""

from collections.abc import Iterator

from ocore_operator.kube.catalog import Catalog, Entry
from ocore_operator.kube.resources import Key


def needs(catalog: Catalog, namespace: str, name: str, full_id: str) -> bool:
    """Whether the Snapshot of this name needs the full one."""
    found = catalog.get(Key("Snapshot", namespace, name))
    return found is not None and found.pairing is not None and found.pairing.needs == full_id


def unlisted(catalog: Catalog, full: Entry) -> list[str]:
    """Names of terminal Snapshots that need the full one and are not entered in it: they were found in the store. One
    that runs is entered by its own reconcile."""
    listed = full.pairing.dependents if full.pairing is not None else ()
    needing = catalog.needing(full.key.namespace, full.id)
    return sorted(e.key.name for e in needing if e.terminal and e.key.name not in listed)


def released(catalog: Catalog, full: Entry) -> list[str]:
    """Names that are entered in the full one, of Snapshots that do not need it any more or are gone."""
    listed = full.pairing.dependents if full.pairing is not None else ()
    return [name for name in listed if not needs(catalog, full.key.namespace, name, full.id)]


def unsettled(catalog: Catalog, key: Key) -> bool:
    """Whether this Snapshot must be reconciled because of what is known of others."""
    entry = catalog.get(key)
    if entry is None or entry.pairing is None:
        return False
    if entry.pairing.dependents and released(catalog, entry):
        return True
    if entry.phase in ("Complete", "Corrupt") and unlisted(catalog, entry):
        return True
    return is_of_corrupt(catalog, entry)


def is_of_corrupt(catalog: Catalog, entry: Entry) -> bool:
    """Whether this Snapshot is Complete and needs a full one that is corrupt."""
    if entry.phase != "Complete" or entry.pairing is None or not entry.pairing.needs:
        return False
    full = catalog.of_id("Snapshot", entry.key.namespace, entry.pairing.needs)
    return full is not None and full.phase == "Corrupt"


def related(catalog: Catalog, key: Key) -> Iterator[Key]:
    """The Snapshots that a change, or the end, of this one may leave unsettled."""
    for full in catalog.protecting(key.namespace, key.name):
        yield full.key
    entry = catalog.get(key)
    if entry is None or entry.pairing is None:
        return
    if entry.pairing.needs:
        full_ = catalog.of_id("Snapshot", key.namespace, entry.pairing.needs)
        if full_ is not None:
            yield full_.key
    for dependent in catalog.needing(key.namespace, entry.id):
        yield dependent.key


def all_unsettled(catalog: Catalog) -> list[Key]:
    """All Snapshots that must be reconciled because of others."""
    found: list[Key] = []
    for key, full in catalog.needed().items():
        if unsettled(catalog, key):
            found.append(key)
        if full.phase == "Corrupt":
            found.extend(e.key for e in catalog.needing(key.namespace, full.id) if is_of_corrupt(catalog, e))
    return found


def suspects(catalog: Catalog, namespace: str, environment: str) -> set[str]:
    """Ids of full Snapshots of which a differential was found corrupt: its own bytes or those of the full one, which
    may be read by no other."""
    found = (e.pairing.needs for e in catalog.snapshots(namespace, environment) if e.phase == "Corrupt" and e.pairing)
    return {id_ for id_ in found if id_}
