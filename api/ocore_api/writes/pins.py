"""Pins of snapshots."""

from ocore_api.cache import Cache, SnapshotEntry
from ocore_api.managed import MANAGER, applied_spec, other_owner
from ocore_api.writes.client import Client, Object, gone, patch_live, read_live
from ocore_kube.types import SNAPSHOTS


async def pin(client: Client, cache: Cache, snapshot: SnapshotEntry, label: str | None) -> None:
    """Pins the Snapshot, without force. Without a label, one that the facade has set is removed, and one that another
    client has set stays.

    Raises Problem: NotFound; FieldOwned where another client has set another label; AdmissionRefused beyond
    `maxPinned`.
    """
    live = await read_live(client, SNAPSHOTS, snapshot, deleting=False)
    changed = await client.apply_with_owned(SNAPSHOTS, live, {"pin": _pin(live, label)})
    if changed is None:
        raise gone(snapshot)
    cache.store.put("Snapshot", changed)


def _pin(live: Object, label: str | None) -> Object:
    """The pin to apply. An apply that leaves out a label which nothing else owns would make the whole pin null, which
    the schema refuses."""
    if label:
        return {"label": label}
    ours = "label" in applied_spec(live, MANAGER).get("pin", {})
    return {"label": ""} if ours and not other_owner(live, MANAGER, "pin", "label") else {}


async def unpin(client: Client, cache: Cache, snapshot: SnapshotEntry) -> None:
    """Removes the pin of any client: a server-side apply could only remove a pin of the facade. A GitOps tool that has
    it in Git sets it again.

    Raises Problem (NotFound).
    """
    live = await read_live(client, SNAPSHOTS, snapshot, deleting=False)
    if (live.get("spec") or {}).get("pin") is not None:
        live = await patch_live(client, SNAPSHOTS, snapshot, {"spec": {"pin": None}})
    cache.store.put("Snapshot", live)
