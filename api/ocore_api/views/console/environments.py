"""Environments and their policies for the console, from raw objects. Pure; JSON-ready."""

from ocore_api.views.values import Object, Resource, text
from ocore_crds import conditions as c
from ocore_crds.naming import project_id
from ocore_crds.resources.environment import remedy_of
from ocore_crds.resources.snapshotpolicy import Retention, SnapshotPolicySpec
from ocore_crds.troubleshooting import entries

#: A probe runs, or waits: neither ready nor not.
_UNKNOWN = (c.PENDING, c.PROBING, c.JOB_PENDING)
#: The conditions that a problem is taken from, the worst first.
_WORST = (c.READY, c.STALLED, c.ROLLBACK_READY)
_ABNORMAL = (c.STALLED, c.FAILED)


def row(obj: Resource) -> Object:
    """What of :class:`ocore_api.views.console.models.EnvironmentRow` the Environment alone decides."""
    meta, found, probe = obj.meta, obj.conditions, obj.status.get("probe") or {}
    return {
        "id": str(obj.status.get("id") or ""),
        "name": meta["name"],
        "namespace": meta["namespace"],
        "projectId": project_id(obj.spec.get("projectId"), meta["namespace"]),
        "type": obj.spec["type"],
        "ready": _holds(found.get(c.READY)),
        "rollbackReady": _holds(found.get(c.ROLLBACK_READY)),
        "problem": _problem(found, obj),
        "probedAt": text(probe, "startedAt") or text(probe, "time"),
    }


def details(obj: Resource) -> Object:
    """What of :class:`ocore_api.views.console.models.EnvironmentDetails` the Environment alone decides, beside its
    row."""
    spec, status = obj.spec, obj.status
    sizes, probe = status.get("sizes") or {}, status.get("probe") or {}
    stores = [{"role": "store", "name": spec["storeRef"]["name"]}]
    if spec.get("remoteStoreRef"):
        stores.append({"role": "remote", "name": spec["remoteStoreRef"]["name"]})
    return {
        "createdAt": obj.meta["creationTimestamp"],
        "conditions": [_condition(x, obj) for x in status.get("conditions") or ()],
        "sizes": {
            **{name: int(sizes.get(name) or 0) for name in ("databaseBytes", "filestoreBytes", "filestoreFiles")},
            "measuredAt": sizes["measuredAt"],
        }
        if sizes.get("measuredAt")
        else None,
        "databaseName": text(probe, "databaseName"),
        "serverVersion": text(probe, "serverVersion"),
        "stores": stores,
        "warnings": list(probe.get("warnings") or ()),
    }


def policy(obj: Resource) -> Object:
    """The fields of :class:`ocore_api.views.console.models.PolicyView`."""
    spec, status = obj.spec, obj.status
    found = SnapshotPolicySpec.model_validate(spec, extra="ignore")
    return {
        "schedule": list(found.schedule),
        "timeZone": found.time_zone,
        "suspended": found.suspend,
        "autoEnabled": found.auto_enabled,
        "failurePolicy": found.failure_policy.lower(),
        **rules(found),
        "remoteRetentionDays": found.remote_retention_days,
        "maxPinned": found.max_pinned,
        "pinned": int(status.get("pinned") or 0),
        "fullEvery": found.full_every,
        "timeoutSeconds": found.timeout_seconds,
        "testSchedule": list(found.verify.schedule) if found.verify is not None else [],
        "lastSnapshotAt": text(status, "lastScheduleTime"),
        "nextSnapshotAt": text(status, "nextScheduleTime"),
        "lastRestoreTestAt": text(status, "lastRestoreTestTime"),
        "nextRestoreTestAt": text(status, "nextRestoreTestTime"),
        "nextExpiryAt": text(status.get("kept") or {}, "nextExpiry"),
    }


def rules(found: Retention) -> Object:
    """The fields of :class:`ocore_api.views.console.models.RetentionRules`."""
    return {
        "retentionDays": found.days,
        "keepLast": found.keep_last,
        "keepHourly": found.keep_hourly,
        "keepDaily": found.keep_daily,
        "keepWeekly": found.keep_weekly,
        "keepMonthly": found.keep_monthly,
        "keepYearly": found.keep_yearly,
    }


def _holds(condition: Object | None) -> bool | None:
    if not condition or (condition.get("status") != "True" and condition.get("reason") in _UNKNOWN):
        return None
    return {"True": True, "False": False}.get(str(condition.get("status")))


def _is_wrong(condition: Object) -> bool:
    if condition["type"] in _ABNORMAL:
        return bool(condition["status"] == "True")
    return bool(condition["status"] == "False" and condition.get("reason") not in _UNKNOWN)


def _problem(found: dict[str, Object], obj: Resource) -> Object | None:
    wrong = next((found[t] for t in _WORST if t in found and _is_wrong(found[t])), None)
    if wrong is None:
        return None
    shown = _condition(wrong, obj)
    return {"condition": shown["type"], **{k: shown[k] for k in ("reason", "message", "since", "fix")}}


def _condition(condition: Object, obj: Resource) -> Object:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    return {
        "type": condition["type"],
        "status": condition["status"],
        "reason": reason,
        "message": message,
        "since": condition["lastTransitionTime"],
        "fix": _fix(reason, obj) if _is_wrong(condition) else None,
    }


def _fix(reason: str, obj: Resource) -> Object | None:
    """The entry of the reason, with the statements that give the missing rights. Nothing of a message: it is text of a
    Job, and of a tenant's database."""
    entry = entries().get(reason)
    if entry is None:
        return None
    statements, legend = remedy_of(obj.raw) if reason == c.MISSING_GRANTS else ((), "")
    text = f"{entry.text}\n\n{legend}" if statements else entry.text
    return {"text": text, "commands": [*statements, *entry.commands]}
