"""What a Snapshot asks of the operator, from its raw JSON: a resync reads thousands of objects. Pure."""

from ocore_crds import conditions as c
from ocore_crds import naming, remote_copy
from ocore_crds.restore_test import open_run
from ocore_operator.kube.resources import Object
from ocore_operator.snapshot import plan_state


def idle(obj: Object) -> bool:
    """Whether a Snapshot needs no reconcile: it is terminal and nothing remains to be done."""
    status, meta, spec = obj.get("status") or {}, obj["metadata"], obj.get("spec") or {}
    conditions = status.get("conditions") or ()
    if "deletionTimestamp" in meta or not c.is_terminal(conditions) or status.get("residue") == "Pending":
        return False
    if status.get("observedGeneration") != meta.get("generation"):
        return False
    if remote_copy.work_remains(obj) or open_run(obj) is not None:
        return False
    verified = any(x["type"] == c.VERIFIED and x["status"] != "Unknown" for x in conditions)
    if c.outcome(conditions) != "Failed" and plan_state.differs_raw(obj):
        return False
    return c.outcome(conditions) == "Failed" or spec.get("verify") != "Full" or verified


def critical(obj: Object) -> bool:
    """Whether the Snapshot has stopped the application for its freeze, and has not started it again."""
    quiesce = (obj.get("status") or {}).get("quiesce") or {}
    return quiesce.get("stage") in ("Stop", "Drain", "Freeze", "Resume")


def is_half(obj: Object) -> bool:
    """Whether an import has created the Snapshot and was killed before it wrote the status. Reads raw JSON."""
    annotated = naming.ANNOTATION_IMPORT in (obj["metadata"].get("annotations") or {})
    return annotated and not (obj.get("status") or {}).get("phase")
