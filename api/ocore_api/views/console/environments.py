"""Environments and their policies for the console, from raw objects. Pure; JSON-ready."""

from datetime import timedelta

from ocore_api.managed import MANAGER, other_owner
from ocore_api.views.requests import SettingsUpdate
from ocore_api.views.values import Object, Resource
from ocore_crds import conditions as c
from ocore_crds.naming import project_id
from ocore_crds.resources.environment import remedy_of
from ocore_crds.resources.snapshotpolicy import DEFAULT_TIMEOUT_SECONDS, Retention, SnapshotPolicySpec
from ocore_crds.rules import cron
from ocore_crds.rules.overdue import Scheduled
from ocore_crds.troubleshooting import entries

#: The fields of a SnapshotPolicy that a request can set.
_SETTINGS = tuple(str(field.alias) for field in SettingsUpdate.model_fields.values())
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
        "probedAt": probe.get("startedAt") or probe.get("time") or None,
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
        "databaseName": probe.get("databaseName") or None,
        "serverVersion": probe.get("serverVersion") or None,
        "stores": stores,
        "warnings": list(probe.get("warnings") or ()),
    }


def scheduled(policy: Object, environment_id: str) -> Scheduled | None:
    """When a SnapshotPolicy, as the API server returned it, has Snapshots taken; None where it has none taken."""
    spec = policy["spec"]
    expressions = tuple(spec.get("schedule") or ())
    if not expressions or spec.get("suspend"):
        return None
    return Scheduled(
        expressions,
        str(spec.get("timeZone") or "Etc/UTC"),
        cron.spread(environment_id, int(spec.get("spreadMinutes") or 0)),
        timedelta(seconds=int(spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS)),
    )


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
        "lastSnapshotAt": status.get("lastScheduleTime") or None,
        "nextSnapshotAt": status.get("nextScheduleTime") or None,
        "lastRestoreTestAt": status.get("lastRestoreTestTime") or None,
        "nextRestoreTestAt": status.get("nextRestoreTestTime") or None,
        "nextExpiryAt": (status.get("kept") or {}).get("nextExpiry") or None,
        "owners": {name: owner for name in _SETTINGS if (owner := other_owner(obj.raw, MANAGER, name))},
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
