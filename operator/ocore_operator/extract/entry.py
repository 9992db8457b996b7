"""What the catalog keeps of an Extract, from its raw JSON. Pure."""

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_operator.entries.extracts import ExtractEntry
from ocore_operator.kube.catalog import Work, common, shared
from ocore_operator.kube.resources import Object


def entry(obj: Object) -> ExtractEntry:
    """Its entry."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    reconciling: Object = next((x for x in status.get("conditions") or () if x["type"] == c.RECONCILING), {})
    return ExtractEntry(
        **common("Extract", obj, work),
        began=(status.get("phase") or "Pending") != "Pending",
        started=status.get("startedAt") or meta["creationTimestamp"],
        waits_for_lock=reconciling.get("status") == "True" and reconciling.get("reason") == c.WAITING_FOR_OPERATION,
        environment=shared(status.get("environmentName") or ""),
        completed=status.get("completedAt") or "",
        snapshot=shared((spec.get("snapshotRef") or {}).get("name") or ""),
        live="store" not in (spec.get("target") or {}),
    )


def work(obj: Object) -> Work:
    """What it asks of the operator."""
    return Work(idle=idle(obj))


def idle(obj: Object) -> bool:
    """Whether it needs no reconcile: terminal, and nothing remains to be removed, now or later."""
    status, meta = obj.get("status") or {}, obj["metadata"]
    if "deletionTimestamp" in meta:
        return naming.FINALIZER_EXTRACT not in (meta.get("finalizers") or ())
    return c.is_terminal(status.get("conditions") or ()) and status.get("residue") != "Pending"
