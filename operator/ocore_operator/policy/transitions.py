"""The statuses of a SnapshotPolicy. Pure."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.resources.snapshotpolicy import Kept, SnapshotPolicySpec, SnapshotPolicyStatus
from ocore_crds.rules.retention import Verdict
from ocore_operator import clock, summarize
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Policy
from ocore_operator.summarize import Stamp

#: Fields that decide when snapshots are taken. After a change of one of them, only slots that begin later count.
_SCHEDULE_FIELDS = ("schedule", "timeZone", "spreadMinutes", "suspend")


def schedule_hash(spec: SnapshotPolicySpec) -> str:
    """Digest of the fields that decide when snapshots are taken."""
    wire = spec.wire()
    text = json.dumps({f: wire[f] for f in _SCHEDULE_FIELDS}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def scheduled(policy: Policy, now: datetime) -> SnapshotPolicyStatus:
    """The schedule is as it is now: from the policy's creation, or from the change that is seen now. So nothing runs
    because of a change."""
    status, digest = policy.status, schedule_hash(policy.spec)
    if status.schedule_hash == digest:
        return status
    since = policy.meta.created if status.schedule_hash is None else clock.text(now)
    return status.model_copy(update={"schedule_hash": digest, "scheduled_from": since})


def dealt_with(status: SnapshotPolicyStatus, slot: datetime, snapshot: str | None) -> SnapshotPolicyStatus:
    """A slot ran (its Snapshot's name) or was left out (None)."""
    update = {"last_schedule_time": clock.text(slot)}
    if snapshot is not None:
        update["last_snapshot"] = snapshot
    return status.model_copy(update=update)


def invalid(policy: Policy, message: str, now: datetime) -> SnapshotPolicyStatus:
    """The schedule cannot be used."""
    end = Stalled(c.SCHEDULE_INVALID, message)
    status = summarize.outcome(policy.status, end, Stamp.of(policy.meta, now))
    return status.model_copy(update={"phase": "NotReady", "next_schedule_time": None})


def without_environment(policy: Policy, now: datetime) -> SnapshotPolicyStatus:
    """Nothing can be taken yet."""
    message = f"Environment {policy.meta.name} does not exist in namespace {policy.meta.namespace}. Waiting for it."
    status = summarize.running(policy.status, c.ENVIRONMENT_NOT_FOUND, message, Stamp.of(policy.meta, now))
    return status.model_copy(update={"phase": "NotReady", "next_schedule_time": None})


def active(
    policy: Policy,
    status: SnapshotPolicyStatus,
    following: datetime | None,
    kept: Kept,
    pinned: int,
    now: datetime,
) -> SnapshotPolicyStatus:
    """The policy works. `following`: when the next Snapshot is created."""
    stamp, limit = Stamp.of(policy.meta, now), policy.spec.max_pinned
    if policy.spec.suspend:
        reason, message = c.SUSPENDED, "No snapshots are scheduled while spec.suspend is true. Retention continues."
    elif following is None:
        reason, message = c.NO_SCHEDULE, "No snapshots are scheduled: spec.schedule is empty."
    else:
        reason, message = c.SCHEDULED, f"The next snapshot is taken at {clock.text(following)}."
    if limit and pinned > limit:
        reason = c.PIN_LIMIT_EXCEEDED
        message = (
            f"{pinned} snapshots are pinned, and spec.maxPinned is {limit}. All of them stay; unpin some. {message}"
        )
    status = summarize.ready(status, reason, message, stamp)
    return status.model_copy(
        update={
            "phase": "Suspended" if policy.spec.suspend else "Active",
            "next_schedule_time": clock.text(following) if following is not None else None,
            "kept": kept,
            "pinned": pinned,
            "observed_generation": stamp.generation,
        }
    )


def with_results(
    status: SnapshotPolicyStatus, snapshots: Iterable[SnapshotEntry], stamp: Stamp
) -> SnapshotPolicyStatus:
    """How the newest scheduled Snapshot ended, and when a good one succeeded at last."""
    every = list(snapshots)
    complete = [e.completed for e in every if e.good and e.completed]
    if complete:
        newest = max(complete)
        status = status.model_copy(update={"last_successful_time": max(newest, status.last_successful_time or newest)})
    ended = [e for e in every if e.terminal and e.retention.trigger == "Scheduled"]
    if not ended:
        return status
    last = max(ended, key=lambda e: e.data_order)
    if last.phase == "Complete":
        return summarize.with_condition(
            status, c.LAST_SNAPSHOT_SUCCEEDED, "True", c.SUCCEEDED, f"Snapshot {last.key.name} is Complete.", stamp
        )
    message = f"Snapshot {last.key.name} failed: see its condition Failed."
    return summarize.with_condition(status, c.LAST_SNAPSHOT_SUCCEEDED, "False", c.FAILED, message, stamp)


def kept(snapshots: Iterable[SnapshotEntry], verdicts: Mapping[str, Verdict]) -> Kept:
    """The numbers of the status."""
    ours = [e for e in snapshots if e.key.name in verdicts]
    ends = [v.until for v in verdicts.values() if v.until is not None]
    return Kept(
        total=sum(e.phase == "Complete" for e in ours),
        failed=sum(e.phase == "Failed" for e in ours),
        by_rule=dict(sorted(Counter(rule for v in verdicts.values() for rule in v.rules).items())),
        next_expiry=clock.text(min(ends)) if ends else None,
    )


def pinned(snapshots: Iterable[SnapshotEntry]) -> int:
    """Pinned Snapshots of the environment, whatever their retention."""
    return sum(e.retention.pinned and not e.deleting for e in snapshots)
