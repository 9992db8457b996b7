"""The data of server-sent events, from raw objects. Pure; JSON-ready."""

from collections.abc import Sequence

from ocore_api.views.rows import operation_id
from ocore_api.views.values import FINAL, Object, by_type, error_message, operation_status, status_of, text
from ocore_crds import conditions as c


def progress_event(obj: Object) -> Object:
    """The fields of :class:`ocore_api.views.models.ProgressEvent`, of a Snapshot or Rollback."""
    status, state = status_of(obj), operation_status(obj)
    progress, found = status.get("progress") or {}, by_type(obj)
    steps = status.get("steps") or ()
    last = steps[-1]["name"] if steps else None
    percent = min(max(int(progress.get("percent") or 0), 0), 99)
    told = found.get(c.COMPLETE if state == "completed" else c.RECONCILING, {}).get("message")
    times = [
        obj["metadata"]["creationTimestamp"],
        progress.get("updatedAt"),
        status.get("completedAt"),
        *(x.get("lastTransitionTime") for x in found.values()),
        *(s.get("completedAt") or s.get("startedAt") for s in steps),
    ]
    return {
        "id": operation_id(obj),
        "status": state,
        "step": last if state in FINAL else _current(progress, steps) or last,
        "percent": 100 if state == "completed" else percent,
        "bytesDone": int(progress.get("bytesDone") or 0),
        "bytesTotal": int(progress.get("bytesTotal") or 0),
        "message": error_message(obj) if state == "failed" else str(told or ""),
        "time": max(str(t) for t in times if t),
    }


def _current(progress: Object, steps: Sequence[Object]) -> str | None:
    """The step of the progress, or the one that runs where that has ended: a Job may repeat an early check while the rollback has left that step."""
    running = next((s["name"] for s in steps if s.get("state") == "Running"), None)
    reported = text(progress, "step")
    ended = any(s["name"] == reported and s.get("state") in ("Done", "Skipped", "Failed") for s in steps)
    return running or reported if ended else reported or running


def deleted_event(last: Object, kind: str, now: str) -> Object:
    """The final event of an operation whose object was deleted before it ended."""
    return {**last, "status": "failed", "message": f"The {kind.lower()} was deleted while it ran.", "time": now}


def is_final(event: Object) -> bool:
    """Whether no other event follows."""
    return event["status"] in FINAL
