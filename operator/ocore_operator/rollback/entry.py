"""What a Rollback asks of the operator, from its raw JSON: a resync reads thousands of objects. Pure."""

from ocore_crds import naming
from ocore_operator.kube.resources import Object

#: Stages in which the workloads are stopped or are being stopped, and those of them in which the database may refuse
#: connections.
SWITCHING = ("Switch", "Inspect", "BackJob")
STOPPED = (*SWITCHING, "Stop", "Drain", "Abort", "Resume", "BackStop", "BackDrain")


def idle(obj: Object) -> bool:
    """Whether a Rollback needs no reconcile: terminal, without remaining cleanup."""
    status, meta = obj.get("status") or {}, obj["metadata"]
    remains = status.get("residue") == "Pending" and status.get("imported") is None
    terminal = status.get("stage") == "Ended" and not remains
    return terminal and naming.FINALIZER_ROLLBACK not in (meta.get("finalizers") or ())


def under_way(obj: Object) -> bool:
    """Whether the Rollback has the operation lock and has not ended."""
    status = obj.get("status") or {}
    return status.get("startedAt") is not None and status.get("stage") != "Ended"


def critical(obj: Object) -> bool:
    """Whether the Rollback has stopped the application, or is about to switch, and has not started it again."""
    status = obj.get("status") or {}
    return status.get("stage") in STOPPED and (bool(status.get("workloads")) or status.get("stage") in SWITCHING)


def is_half(obj: Object) -> bool:
    """Whether an import has created the Rollback and was killed before it wrote the status."""
    annotated = naming.ANNOTATION_IMPORT in (obj["metadata"].get("annotations") or {})
    return annotated and not (obj.get("status") or {}).get("imported")
