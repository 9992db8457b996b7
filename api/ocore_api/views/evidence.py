"""`recoveryEvidence` with all of its fields, from a raw status. Pure."""

from typing import Any

from pydantic import ValidationError

from ocore_api.views.values import Object, Resource
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.rules import evidence

_KINDS: dict[str, Any] = {"Snapshot": (SnapshotSpec, SnapshotStatus), "Rollback": (RollbackSpec, RollbackStatus)}


def recovery_evidence(kind: str, obj: Resource) -> Object | None:
    """The evidence that the operator has written, else what the status proves. Fields that it lacks have their
    defaults; unknown ones are left out. None where it cannot be derived."""
    written, (spec, status) = obj.status.get("recoveryEvidence"), _KINDS[kind]
    try:
        found = (
            RecoveryEvidence.model_validate(written, extra="ignore")
            if written
            else evidence.of(spec.model_validate(obj.spec), status.model_validate(obj.status))
        )
    except ValidationError:  # of another version
        return None
    return found.model_dump(mode="json", by_alias=True) if found is not None else None
