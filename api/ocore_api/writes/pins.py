"""Pins of snapshots."""

from ocore_api.cache import Cache, SnapshotEntry
from ocore_api.errors import NotFound
from ocore_api.writes.client import MANAGER, Client, Object
from ocore_api.writes.managed import applied_spec, owned_by_others
from ocore_api.writes.refusals import translated
from ocore_kube.errors import Conflict
from ocore_kube.types import SNAPSHOTS


async def pin(client: Client, cache: Cache, snapshot: SnapshotEntry, label: str | None) -> None:
    """Pins the Snapshot, without force. Without a label, one that the facade has set is removed, and one that another
    client has set stays.

    Raises Problem: NotFound; FieldOwned where another client has set another label; AdmissionRefused beyond
    `maxPinned`.
    """
    with translated():
        live = await _live(client, snapshot)
        changed = await client.apply_with_owned(SNAPSHOTS, live, {"pin": _pin(live, label)})
    if changed is None:
        raise _not_found(snapshot)
    cache.store.put("Snapshot", changed)


def _pin(live: Object, label: str | None) -> Object:
    """The pin to apply. An apply that leaves out a label which nothing else owns would make the whole pin null, which
    the schema refuses."""
    if label:
        return {"label": label}
    ours = "label" in applied_spec(live, MANAGER).get("pin", {})
    return {"label": ""} if ours and not owned_by_others(live, MANAGER, "pin", "label") else {}


async def unpin(client: Client, cache: Cache, snapshot: SnapshotEntry) -> None:
    """Removes the pin of any client: a server-side apply could only remove a pin of the facade. A GitOps tool that has
    it in Git sets it again.

    Raises NotFound.
    """
    with translated():
        live = await _live(client, snapshot)
        if (live.get("spec") or {}).get("pin") is not None:
            patch = {"metadata": {"uid": snapshot.uid}, "spec": {"pin": None}}
            try:
                patched = await client.merge_patch(SNAPSHOTS, snapshot.namespace, snapshot.name, patch)
            except Conflict:  # another object has the name now
                patched = None
            if patched is None:
                raise _not_found(snapshot)
            live = patched
    cache.store.put("Snapshot", live)


async def _live(client: Client, snapshot: SnapshotEntry) -> Object:
    live = await client.get(SNAPSHOTS, snapshot.namespace, snapshot.name)
    if live is None or live["metadata"]["uid"] != snapshot.uid or "deletionTimestamp" in live["metadata"]:
        raise _not_found(snapshot)
    return live


def _not_found(snapshot: SnapshotEntry) -> NotFound:
    return NotFound("NotFound", f"No snapshot {snapshot.id} is visible to this caller.")
