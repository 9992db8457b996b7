"""An entry from an object and from those that it refers to. Pure: no I/O.

Each reader returns the entry, and the keys of the objects that it took something from, or waits for.
"""

from collections.abc import Callable, Mapping

from pydantic_core import from_json

from ocore_api.cache.entries import (
    ENVIRONMENT,
    EXTRACT,
    POLICY,
    ROLLBACK,
    SNAPSHOT,
    Entry,
    EnvironmentEntry,
    ExtractEntry,
    Key,
    PolicyEntry,
    PreviewEntry,
    RollbackEntry,
    SnapshotEntry,
)
from ocore_api.cache.queries import Served
from ocore_api.views import rows
from ocore_api.views.console import extracts, rollbacks
from ocore_api.views.values import Resource

#: The entry, and what it needs.
Read = tuple[Entry, tuple[Key, ...]]
#: The entry of a key, served or not.
Known = Callable[[Key], Entry | None]


def _snapshot(obj: Resource, served: Served, _: Known) -> Read:
    """Of the environment that it recorded; before that, of the one that it names."""
    source, key = obj.status.get("source"), (ENVIRONMENT, obj.meta["namespace"], obj.spec["environmentRef"]["name"])
    if source:
        type_ = source["environmentType"]
        place = source["environmentId"], source["projectId"], source["environmentName"]
        origin = rows.Origin(*place, type_ if type_ in rows.TYPES else "")
    else:
        origin = _named(served, key)
    return SnapshotEntry(obj, origin), () if source else (key,)


def _extract(obj: Resource, served: Served, _: Known) -> Read:
    """Of the environment of its Snapshot; of that in its status where the Snapshot is deleted."""
    status, namespace = obj.status, obj.meta["namespace"]
    needs: list[Key] = [(SNAPSHOT, namespace, obj.spec["snapshotRef"]["name"])]
    source, recorded = served.at(needs[0]), status.get("environmentId")
    if source is not None and recorded in (None, source.environment_id):
        origin = rows.Origin(source.environment_id, source.project_id, "", source.environment_type)
    else:
        source, origin = None, rows.Origin()
        if name := str(status.get("environmentName") or ""):
            needs.append((ENVIRONMENT, namespace, name))
            named = _named(served, needs[1])
            origin = named if named.environment_id == recorded else origin
    view = extracts.extract_view(obj, origin.environment_id, source.id if source is not None else None)
    return ExtractEntry(obj, origin, view), tuple(needs)


def _rollback(obj: Resource, served: Served, known: Known) -> Read:
    """Of its target; a preview with dryRun. The id of its Snapshot is what the status will have, where it has none
    yet."""
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
    target = rows.Origin()
    if name:
        needs.append((ENVIRONMENT, namespace, name))
        target = _named(served, needs[-1])
    if status.get("environmentId") not in (None, target.environment_id):
        # The Environment of that name is another one now, or not known yet.
        target = rows.Origin(environment_id=status["environmentId"])
    # The id of a Snapshot of another project is not shown: its name in a spec proves nothing.
    visible = source is not None and source.kind == SNAPSHOT and source.project_id == target.project_id
    snapshot_id = source.id if source is not None and visible and served.at(source.key) else None
    if status.get("snapshotId"):
        needs = [n for n in needs if n[0] != SNAPSHOT]
    if spec.get("dryRun"):
        view = rollbacks.preview(obj, target.environment_id, snapshot_id)
        return PreviewEntry(obj, target, view), tuple(needs)
    return RollbackEntry(obj, target, snapshot_id), tuple(needs)


def _environment_name(served: Served, source: Entry, namespace: str) -> str:
    """Name of the Environment in the namespace that a Snapshot or Rollback belongs to; empty where that is unknown."""
    if isinstance(source, SnapshotEntry):
        return str(from_json(source.encoded)["environmentName"]) if source.namespace == namespace else ""
    found = served.environment(source.environment_id)
    return found.name if found is not None and found.namespace == namespace else ""


def _named(served: Served, key: Key) -> rows.Origin:
    """The Environment of that key, if it has its id; else only the name."""
    found = served.at(key)
    if found is None:
        return rows.Origin(name=key[2])
    return rows.Origin(found.id, found.project_id, found.name, found.environment_type)


#: By kind.
READERS: Mapping[str, Callable[[Resource, Served, Known], Read]] = {
    ENVIRONMENT: lambda obj, *_: (EnvironmentEntry(obj), ()),
    POLICY: lambda obj, *_: (PolicyEntry(obj), ()),
    SNAPSHOT: _snapshot,
    ROLLBACK: _rollback,
    EXTRACT: _extract,
}
