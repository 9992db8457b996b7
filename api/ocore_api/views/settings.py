"""The settings of an environment, from its SnapshotPolicy. Pure; JSON-ready."""

from ocore_api.views.values import Object
from ocore_crds.resources.snapshotpolicy import DEFAULT_MAX_PINNED, DEFAULT_RETENTION_DAYS, DEFAULT_TIMEOUT_SECONDS

#: Rules of retention by number: with one of them, retentionDays has no default.
_COUNTS = ("keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly")


def settings_view(policy: Object, environment_id: str) -> Object:
    """The fields of :class:`ocore_api.views.models.SettingsView`."""
    meta, spec = policy["metadata"], policy.get("spec") or {}
    days = spec.get("retentionDays")
    if days is None and not any(spec.get(name) for name in _COUNTS):
        days = DEFAULT_RETENTION_DAYS
    return {
        "autoEnabled": bool(spec.get("autoEnabled", True)),
        "createdAt": meta["creationTimestamp"],
        "environmentId": environment_id,
        "failurePolicy": (spec.get("failurePolicy") or "Block").lower(),
        "id": meta["uid"],
        "maxPinned": int(spec.get("maxPinned", DEFAULT_MAX_PINNED)),
        "retentionDays": days,
        "timeoutSeconds": int(spec.get("timeoutSeconds", DEFAULT_TIMEOUT_SECONDS)),
        "updatedAt": _updated(meta),
    }


def _updated(meta: Object) -> str:
    """The newest change of a field of spec."""
    times = [
        str(m["time"])
        for m in meta.get("managedFields") or ()
        if m.get("time") and not m.get("subresource") and "f:spec" in (m.get("fieldsV1") or {})
    ]
    return max(times, default=str(meta["creationTimestamp"]))
