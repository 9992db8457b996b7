"""What rules of retention keep and delete, from the cache: as the operator decides it. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import from_json

from ocore_api.cache.entries import RollbackEntry, SnapshotEntry
from ocore_api.views.console import environments
from ocore_api.views.values import Object
from ocore_crds.resources.snapshotpolicy import Retention, SnapshotPolicySpec
from ocore_crds.rules.retention import Listed, Verdict, judged, told_of
from ocore_crds.text import timestamps

#: Where the policy names no time zone.
UTC_ZONE: str = SnapshotPolicySpec.model_fields["time_zone"].default


@dataclass(frozen=True)
class Question:
    """What is asked. `snapshots`: all of the Environment of that name, in its namespace; `shown`: ids of those that the
    caller may see; `policy`: None: it has none; `given`: fields of it to try instead of its own."""

    environment_id: str
    namespace: str
    snapshots: Sequence[SnapshotEntry]
    rollbacks: Sequence[RollbackEntry]
    shown: Collection[str]
    policy: Mapping[str, Any] | None
    given: Mapping[str, int]


def plan(question: Question, now: datetime, offset: int, limit: int) -> Object:
    """:class:`ocore_api.views.console.models.RetentionPlan`. Its time grows with the Snapshots. Raises KeyError,
    ValueError or OSError where the time zone is unknown."""
    own = dict(question.policy or {})
    rules, zone = Retention.model_validate(own | dict(question.given), extra="ignore"), own.get("timeZone") or UTC_ZONE
    by_name = {e.name: e for e in question.snapshots}
    told = question.policy is None and not question.given
    used = {r.uses[1] for r in question.rollbacks if r.uses is not None and r.uses[0] == question.namespace}
    safeties = [r.safety for r in question.rollbacks if r.safety is not None and r.namespace == question.namespace]
    listed = [
        Listed(
            e.name,
            replace(e.candidate, in_use=e.name in used) if e.candidate is not None else None,
            e.needs,
            _told(e) if told and e.candidate is not None else None,
        )
        for e in question.snapshots
    ]
    found = judged(listed, safeties, rules, ZoneInfo(zone), now, told=told)
    shown = [(by_name[name], verdict) for name, verdict in found.items() if by_name[name].id in question.shown]
    shown.sort(key=lambda each: each[0].order, reverse=True)
    shown.sort(key=lambda each: not each[1].expired)
    expired = [entry for entry, verdict in shown if verdict.expired]
    return {
        "environmentId": question.environment_id,
        "isTrial": bool(question.given),
        "timeZone": zone,
        "rules": environments.rules(rules),
        "kept": len(shown) - len(expired),
        "deleted": len(expired),
        "deletedBytes": sum(entry.stored_bytes for entry in expired),
        "unaffected": len(question.shown) - len(shown),
        "limit": limit,
        "offset": offset,
        "snapshots": [_verdict(entry, verdict) for entry, verdict in shown[offset : offset + limit]],
        "total": len(shown),
    }


def _verdict(entry: SnapshotEntry, verdict: Verdict) -> Object:
    return {
        "id": entry.id,
        "name": entry.name,
        "time": entry.time,
        "status": entry.status,
        "storedBytes": entry.stored_bytes,
        "keptBy": list(verdict.rules),
        "until": timestamps.text(verdict.until) if verdict.until is not None else None,
        "copyKeptBy": list(verdict.copy) if verdict.copy is not None else None,
        "deletedNext": verdict.expired,
    }


def _told(entry: SnapshotEntry) -> Verdict | None:
    """The verdict in the Snapshot's status."""
    row = from_json(entry.console)
    status = {"keptBy": row["keptBy"], "expiresAt": row["expiresAt"], "ruleEnds": row["ruleEnds"]}
    remote = row["remote"] or {}
    return told_of(
        {"status": {**status, "remoteKeptBy": remote.get("keptBy"), "remoteExpiresAt": remote.get("expiresAt")}}
    )
