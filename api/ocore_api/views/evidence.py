"""`recoveryEvidence` with all of its fields, from a raw status. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ocore_api.views.values import Object, Resource
from ocore_crds.resources.recovery_evidence import EvidenceProgress, RecoveryEvidence
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.rules import evidence

_PROGRESS = EvidenceProgress().model_dump(mode="json", by_alias=True)
_DEFAULTS: Mapping[str, Any] = {
    **RecoveryEvidence(operation="snapshot", status="pending").model_dump(mode="json", by_alias=True)
}
_KINDS: dict[str, Any] = {"Snapshot": (SnapshotSpec, SnapshotStatus), "Rollback": (RollbackSpec, RollbackStatus)}


def recovery_evidence(kind: str, obj: Resource) -> Object | None:
    """The evidence. Fields that the status lacks have their defaults; unknown ones are left out. None where it cannot
    be derived."""
    written = obj.status.get("recoveryEvidence")
    if not written:
        return _derived(kind, obj)
    found = {name: written.get(name, default) for name, default in _DEFAULTS.items()}
    progress = written.get("progress") or {}
    found["progress"] = {name: progress.get(name, default) for name, default in _PROGRESS.items()}
    return found


def _derived(kind: str, obj: Resource) -> Object | None:
    spec, status = _KINDS[kind]
    try:
        found = evidence.of(spec.model_validate(obj.spec), status.model_validate(obj.status))
    except ValidationError:  # a spec of another version
        return None
    return found.model_dump(mode="json", by_alias=True) if found is not None else None
