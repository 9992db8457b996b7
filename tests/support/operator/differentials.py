"""Full Snapshots and differentials as the API server has them."""

from typing import Any

from ocore_operator.kube.resources import Object
from support.operator.objects import OTHER_UID, UID, at, snapshot_object, started

FILES: Object = {"claimName": "files", "path": "filestore/shop", "layout": "Odoo"}
#: The environment of the Snapshots of objects.py.
ENVIRONMENT, STORE = UID, OTHER_UID


def uid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def condition(type_: str, status: str = "True", reason: str = "X") -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": at(0)}


def snapshot(
    name: str, number: int, how: str, *, meta: Object | None = None, spec: Object | None = None, **status: Any
) -> Object:
    """A Snapshot that ended; `how`: Complete, Failed or Corrupt."""
    conditions = [condition("Complete" if how == "Corrupt" else how)]
    if how == "Corrupt":
        conditions.append(condition("Verified", "False", "Corrupt"))
    full: Object = started(
        phase=how,
        id=uid(number),
        completedAt=at(number),
        consistentAt=at(number),
        observedGeneration=1,
        manifestKey="k",
        manifestSha256=f"{number:064x}",
        conditions=conditions,
        residue="None",
        filestore=FILES,
    )
    full |= status
    data = {
        "name": name,
        "uid": uid(number),
        "creationTimestamp": at(number),
        "finalizers": ["ocore.dev/data"],
        **(meta or {}),
    }
    return snapshot_object(spec or {}, full, **data)


def full(name: str, number: int, how: str = "Complete", **more: Any) -> Object:
    """A full Snapshot."""
    return snapshot(name, number, how, **{"fullFilestore": True, **more})


def differential(name: str, number: int, base: str, base_number: int, how: str = "Complete", **more: Any) -> Object:
    """One that needs `base`."""
    return snapshot(
        name, number, how, **{"fullFilestore": False, "base": {"name": base, "id": uid(base_number)}, **more}
    )
