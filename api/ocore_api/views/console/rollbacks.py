"""Rollbacks for the console, from raw objects: what a rollback log lacks, and what may be done about one. Pure;
JSON-ready."""

from dataclasses import dataclass
from datetime import datetime

from ocore_api.views.values import FINAL, Object, Resource, identity
from ocore_crds import conditions as c
from ocore_crds.resources.preview import Preview
from ocore_crds.resources.rollback import BEFORE_THE_SWITCH
from ocore_crds.text.timestamps import parse

#: Stages in which a rollback can be cancelled; the empty one: it has not begun.
CANCELLABLE = ("", "Preflight", *BEFORE_THE_SWITCH)
_AS_IN_STATUS = ("phase", "stage", "stageSince", "deadline", "failureReason", "switchedAt", "switchedBackAt")


@dataclass(frozen=True, slots=True)
class Control:
    """What decides whether a Rollback can be undone or cancelled. Empty: there is none."""

    ended: bool
    stage: str
    deleting: bool
    undoes: str  # name of the Rollback that it undoes
    undone_by: str  # name of a Rollback
    kept_until: str  # end of the undo window while something is kept
    switched_at: str

    def undo_refusal(self, now: datetime) -> str:
        """Why it cannot be undone; empty where it can, unless another Rollback ran after it."""
        if not self.ended:
            return "The rollback has not ended."
        if self.undone_by:
            return f"It was undone by rollback `{self.undone_by}`. To go forth again, undo that one."
        if not self.switched_at:
            return (
                "It has switched nothing, so there is nothing to undo. Before another rollback, fix what made it fail."
            )
        if self.deleting or not self.kept_until:
            return "The data from before it is not kept. Start a rollback to a snapshot instead."
        if now >= parse(self.kept_until):
            return f"The undo window ended at {self.kept_until}. Start a rollback to a snapshot instead."
        return ""

    @property
    def cancel_refusal(self) -> str:
        """Why it cannot be cancelled; empty where it can."""
        if self.ended:
            return "The rollback has ended. To return to the data from before, undo it."
        if self.stage not in CANCELLABLE:
            return "The switch has begun: the rollback is completed or switched back. Undo it after its end."
        return "It is being cancelled already." if self.deleting else ""


def control(obj: Resource) -> Control:
    """Of a Rollback as the API server has it."""
    status, found = obj.status, obj.conditions
    kept = any(found.get(t, {}).get("status") == "True" for t in (c.PREVIOUS_RETAINED, c.SWITCHED_BACK_RETAINED))
    stage = str(status.get("stage") or "")
    return Control(
        ended=obj.state in FINAL,
        stage=stage,
        deleting=obj.deleting,
        undoes=str(((obj.spec.get("undo") or {}).get("rollbackRef") or {}).get("name") or ""),
        undone_by=str(status.get("undoneBy") or ""),
        kept_until=str(status.get("undoUntil") or "") if kept else "",
        switched_at=str(status.get("switchedAt") or ""),
    )


def additions(obj: Resource, progress: Object) -> Object:
    """The fields of :class:`ocore_api.views.console.models.RollbackDetails` that a RollbackLog lacks, without those
    that depend on the time or on other Rollbacks. `progress`: the data of its event."""
    spec, status, target = obj.spec, obj.status, obj.spec.get("targetEnvironmentRef") or {}
    stalled = obj.conditions.get(c.STALLED, {})
    # One that was undone is Stalled for kstatus: the environment is not what it asks for.
    waits = stalled.get("status") == "True" and not status.get("undoneBy")
    stopped, ready = status.get("quiescedAt") or None, status.get("readyAt") or None
    return {
        "name": obj.meta["name"],
        "kind": "undo" if spec.get("undo") else "rollback",
        "environmentName": status.get("environmentName") or target.get("name") or None,
        "snapshotName": status.get("snapshotName") or (spec.get("snapshotRef") or {}).get("name") or None,
        **{name: status.get(name) or None for name in _AS_IN_STATUS},
        **{name: progress[name] for name in ("step", "percent", "bytesDone", "bytesTotal", "message")},
        "stalledReason": stalled.get("reason") or None if waits else None,
        "steps": [_step(each) for each in status.get("steps") or ()],
        "position": {"Old": "old", "New": "new"}.get(str(status.get("position"))),
        "downtime": {
            "startedAt": stopped,
            "endedAt": ready,
            "seconds": (parse(ready) - parse(stopped)).total_seconds() if stopped and ready else None,
            "refusedSeconds": status.get("refusedSeconds"),
        },
        "isCancelling": obj.deleting,
        "undoesId": identity(status.get("undo") or {}, "rollbackId"),
        "warnings": findings(status),
    }


def findings(status: Object) -> list[Object]:
    """The fields of :class:`ocore_api.views.console.models.Finding`, of each warning."""
    found = status.get("warnings") or ()
    return [{"reason": str(w.get("reason") or ""), "message": str(w.get("message") or "")} for w in found]


def decided(found: Control, refusal: str) -> Object:
    """`undo` and `cancel`. `refusal`: why it cannot be undone; empty where it can."""
    aside = (
        f"All that was written since {found.switched_at} is set aside with the data that is live now. It is kept for"
        " the undo window of the undo, which can be undone itself."
    )
    return {
        "undo": {
            "possible": not refusal,
            "until": found.kept_until or None,
            "reason": refusal or None,
            "setsAside": None if refusal else aside,
        },
        "cancel": {"possible": not found.cancel_refusal, "reason": found.cancel_refusal or None},
    }


def _step(step: Object) -> Object:
    return {
        "name": step["name"],
        "state": str(step.get("state") or "Pending").lower(),
        "startedAt": step.get("startedAt") or None,
        "completedAt": step.get("completedAt") or None,
        "message": str(step.get("message") or ""),
        "bytesDone": step.get("bytesDone"),
        "filesDone": step.get("filesDone"),
    }


def preview(obj: Resource, environment_id: str, snapshot_id: str | None) -> Object:
    """The fields of :class:`ocore_api.views.console.models.RollbackPreview`, of a Rollback with dryRun. `snapshot_id`
    is used where the status has none."""
    status = obj.status
    report, ended = status.get("preview"), c.outcome(status.get("conditions") or ())
    state = "completed" if ended == "Previewed" else obj.state
    reconciling = obj.conditions.get(c.RECONCILING, {})
    return {
        "id": obj.id,
        "name": obj.meta["name"],
        "environmentId": environment_id,
        "snapshotId": identity(status, "snapshotId") or snapshot_id,
        "createdAt": obj.created_at,
        "status": state,
        "message": str(reconciling.get("message") or "") if state not in FINAL else "",
        "errorMessage": obj.error if state == "failed" else None,
        "warnings": findings(status),
        "report": Preview.model_validate(report).model_dump(mode="json", by_alias=True) if report else None,
    }
