"""The Snapshot object of createSafetySnapshot: how it is built, and how it is recognised. Pure."""

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.model import API_VERSION
from ocore_operator.clock import parse
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Rollback
from ocore_operator.rollback.world import SafetyView

#: Fields of a Snapshot's spec that cannot be changed.
FIXED = ("id", "environment_ref", "trigger", "deployment_id", "requested_by", "timeout_seconds", "quiesce")


def safety_name(rollback: Rollback) -> str:
    """Name of the rollback's safety snapshot; empty where none is asked for."""
    wanted = rollback.spec.create_safety_snapshot
    return naming.safety_snapshot(rollback.meta.name, rollback.meta.uid) if wanted else ""


def safety_snapshot(rollback: Rollback) -> Object:
    """Owned by nothing: it stays when the Rollback is deleted. Retention decides how long."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Snapshot",
        "metadata": {
            "name": naming.safety_snapshot(rollback.meta.name, rollback.meta.uid),
            "namespace": rollback.meta.namespace,
            "annotations": {naming.ANNOTATION_ROLLBACK_UID: rollback.meta.uid},
        },
        "spec": {
            "environmentRef": {"name": rollback.status.environment_name or ""},
            "trigger": "PreRollback",
            "retention": "Policy",
            "deletionPolicy": "Delete",
            "timeoutSeconds": rollback.spec.timeout_seconds,
            "requestedBy": rollback.spec.requested_by,
        },
    }


def is_safety_snapshot(obj: Object, rollback: Rollback) -> bool:
    """Whether the object is what this rollback creates: its uid in the annotation, the same spec but for what may be
    changed (a pin, for example), and not older than the Rollback."""
    meta = obj["metadata"]
    mine = (meta.get("annotations") or {}).get(naming.ANNOTATION_ROLLBACK_UID) == rollback.meta.uid
    wanted = resources.snapshot({**obj, "spec": safety_snapshot(rollback)["spec"]}).spec
    spec = resources.snapshot(obj).spec
    same = all(getattr(spec, field) == getattr(wanted, field) for field in FIXED)
    return mine and same and parse(meta["creationTimestamp"]) >= parse(rollback.meta.created)


def safety_view(obj: Object, rollback: Rollback) -> SafetyView:
    """The Snapshot as the plan sees it."""
    snapshot = resources.snapshot(obj)
    status = snapshot.status
    complete = c.is_true(status.conditions, c.COMPLETE) and status.phase != "Corrupt"
    failed = c.is_true(status.conditions, c.FAILED) or status.phase == "Corrupt"
    about = (
        c.find(status.conditions, c.FAILED)
        or c.find(status.conditions, c.STALLED)
        or c.find(status.conditions, c.RECONCILING)
    )
    return SafetyView(
        name=snapshot.meta.name,
        uid=snapshot.meta.uid,
        ours=is_safety_snapshot(obj, rollback),
        complete=complete,
        failed=failed,
        deleting=snapshot.meta.deleted is not None,
        version=snapshot.meta.resource_version,
        message=about.message if about is not None else "",
        consistent_at=status.consistent_at or "",
    )
