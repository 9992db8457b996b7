"""`recoveryEvidence` with all of its fields, from a raw status. Pure."""

from typing import Any

from pydantic import ValidationError

from ocore_api.views.values import Object, Resource
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.rules import evidence

_KINDS: dict[str, Any] = {"Snapshot": (SnapshotSpec, SnapshotStatus), "Rollback": (RollbackSpec, RollbackStatus)}
_EMPTY: Object = RecoveryEvidence(operation="snapshot", status="pending").model_dump(mode="json", by_alias=True)


def recovery_evidence(kind: str, obj: Resource) -> Object | None:
    """The evidence that the operator has written, else what the status proves. Fields that it lacks have their
    defaults; unknown ones are left out. None where it cannot be derived."""
    written = obj.status.get("recoveryEvidence")
    if written:  # not parsed: that takes as long as a fifth of the entry
        progress = written.get("progress") or {}
        found = {name: written.get(name, default) for name, default in _EMPTY.items()}
        return found | {"progress": {name: progress.get(name, default) for name, default in _EMPTY["progress"].items()}}
    spec, status = _KINDS[kind]
    try:
        derived = evidence.of(spec.model_validate(obj.spec), status.model_validate(obj.status))
    except ValidationError:  # of another version
        return None
    return derived.model_dump(mode="json", by_alias=True) if derived is not None else None
