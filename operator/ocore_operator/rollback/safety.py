"""The Snapshot object of createSafetySnapshot: how it is built, and how it is recognised. Pure."""

from ocore_crds import naming
from ocore_crds.kinds import SNAPSHOT
from ocore_crds.resources.snapshot import SAFETY_TRIGGER, SnapshotSpec
from ocore_operator.clock import parse
from ocore_operator.kube.resources import Object, Rollback, Snapshot

#: Fields of a Snapshot's spec that cannot be changed.
FIXED = ("id", "environment_ref", "trigger", "deployment_id", "requested_by", "timeout_seconds", "quiesce")


def safety_name(rollback: Rollback) -> str:
    """Name of the rollback's safety snapshot; empty where none is asked for."""
    wanted = rollback.spec.create_safety_snapshot
    return naming.safety_snapshot(rollback.meta.name, rollback.meta.uid) if wanted else ""


def safety_snapshot(rollback: Rollback) -> Object:
    """Owned by nothing: it stays when the Rollback is deleted. Retention decides how long."""
    spec = {
        "environmentRef": {"name": rollback.status.environment_name or ""},
        "trigger": SAFETY_TRIGGER,
        "retention": "Policy",
        "deletionPolicy": "Delete",
        "timeoutSeconds": rollback.spec.timeout_seconds,
        "requestedBy": rollback.spec.requested_by,
    }
    name = naming.safety_snapshot(rollback.meta.name, rollback.meta.uid)
    annotations = {naming.ANNOTATION_ROLLBACK_UID: rollback.meta.uid}
    return SNAPSHOT.new(rollback.meta.namespace, spec, name=name, annotations=annotations)


def is_safety_snapshot(snapshot: Snapshot, rollback: Rollback) -> bool:
    """Whether the object is what this rollback creates: its uid in the annotation, the same spec but for what may be
    changed (a pin, for example), and not older than the Rollback."""
    meta = snapshot.meta
    mine = meta.annotations.get(naming.ANNOTATION_ROLLBACK_UID) == rollback.meta.uid
    wanted = SnapshotSpec.model_validate(safety_snapshot(rollback)["spec"])
    same = all(getattr(snapshot.spec, field) == getattr(wanted, field) for field in FIXED)
    return mine and same and parse(meta.created) >= parse(rollback.meta.created)
