"""An entry from an object and from those that it refers to. Pure: no I/O.

Each function returns the entry, and the keys of the objects that it took something from, or waits for.
"""

from collections.abc import Callable

from pydantic_core import from_json

from ocore_api.cache.entries import (
    ENVIRONMENT,
    EXTRACT,
    ROLLBACK,
    SNAPSHOT,
    Entry,
    EnvironmentEntry,
    Key,
    SnapshotEntry,
    environment_entry,
    extract_entry,
    preview_entry,
    rollback_entry,
    snapshot_entry,
)
from ocore_api.cache.queries import Served
from ocore_api.views import rows
from ocore_api.views.values import Resource

#: The entry, and what it needs.
Read = tuple[Entry, tuple[Key, ...]]


def entry_of(kind: str, obj: Resource, served: Served, known: Callable[[Key], Entry | None]) -> Read:
    """The entry of an Environment, Snapshot, Rollback or Extract. `known`: the entry of a key, served or not."""
    if kind == ENVIRONMENT:
        return environment_entry(obj), ()
    if kind == ROLLBACK:
        return _rollback(obj, served, known)
    if kind == EXTRACT:
        return _extract(obj, served)
    origin = rows.recorded_origin(obj)
    if origin is not None:
        return snapshot_entry(obj, origin), ()
    namespace, name = obj.meta["namespace"], obj.spec["environmentRef"]["name"]
    return snapshot_entry(obj, _origin(served, namespace, name)), ((ENVIRONMENT, namespace, name),)


def _extract(obj: Resource, served: Served) -> Read:
    """Of the environment of its Snapshot; of that in its status where the Snapshot is deleted."""
    status, namespace = obj.status, obj.meta["namespace"]
    needs: list[Key] = [(SNAPSHOT, namespace, obj.spec["snapshotRef"]["name"])]
    source, recorded = served.at(needs[0]), status.get("environmentId")
    if source is not None and recorded in (None, source.environment_id):
        origin = rows.Origin(source.environment_id, source.project_id, "", source.environment_type)
        return extract_entry(obj, origin, source.id), tuple(needs)
    name = str(status.get("environmentName") or "")
    origin = _origin(served, namespace, name) if name else rows.Origin()
    if name:
        needs.append((ENVIRONMENT, namespace, name))
    if origin.environment_id != recorded:
        origin = rows.Origin()
    return extract_entry(obj, origin, None), tuple(needs)


def _rollback(obj: Resource, served: Served, known: Callable[[Key], Entry | None]) -> Read:
    spec, status, namespace = obj.spec, obj.status, obj.meta["namespace"]
    needs: list[Key] = []
    ref, undo = spec.get("snapshotRef"), (spec.get("undo") or {}).get("rollbackRef")
    if ref:
        needs.append((SNAPSHOT, ref.get("namespace") or namespace, ref["name"]))
    elif undo:
        needs.append((ROLLBACK, namespace, undo["name"]))
    source = known(needs[0]) if needs else None
    name = status.get("environmentName") or (spec.get("targetEnvironmentRef") or {}).get("name")
    name = str(name or (_environment_name(served, source, namespace) if source is not None else ""))
    target = _origin(served, namespace, name) if name else rows.Origin()
    if name:
        needs.append((ENVIRONMENT, namespace, name))
    if status.get("environmentId") not in (None, target.environment_id):
        # The Environment of that name is another one now, or not known yet.
        target = rows.Origin(environment_id=status["environmentId"])
    # The id of a Snapshot of another project is not shown: its name in a spec proves nothing.
    visible = source is not None and source.kind == SNAPSHOT and source.project_id == target.project_id
    snapshot_id = source.id if source is not None and visible and served.at(source.key) else None
    if status.get("snapshotId"):
        needs = [n for n in needs if n[0] != SNAPSHOT]
    made = preview_entry if rows.is_preview(obj) else rollback_entry
    return made(obj, target, snapshot_id), tuple(needs)


def _environment_name(served: Served, source: Entry, namespace: str) -> str:
    """Name of the Environment in the namespace that a Snapshot or Rollback belongs to; empty where that is unknown."""
    if isinstance(source, SnapshotEntry):
        return str(from_json(source.encoded)["environmentName"]) if source.namespace == namespace else ""
    found = served.find(EnvironmentEntry, source.environment_id)
    return found.name if found is not None and found.namespace == namespace else ""


def _origin(served: Served, namespace: str, name: str) -> rows.Origin:
    """The Environment of that name, if it has its id; else only the name."""
    found = served.environment_at(namespace, name)
    if found is None:
        return rows.Origin(name=name)
    return rows.Origin(found.id, found.project_id, found.name, found.environment_type)
