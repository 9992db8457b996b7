"""The data of server-sent events, from raw objects. Pure; JSON-ready."""

from collections.abc import Sequence

from ocore_api.views.values import FINAL, Object, Resource
from ocore_crds import conditions as c
from ocore_crds.protocol import Step
from ocore_crds.rules.shown_step import Begun, shown_step

_ENDED = ("Done", "Skipped", "Failed")
#: Whether it is completed → conditions whose message says what happens, the first one that exists.
_TELLING = {True: (c.COMPLETE,), False: (c.RECONCILING, c.STALLED)}


def progress_event(obj: Resource) -> Object:
    """The fields of :class:`ocore_api.views.models.ProgressEvent`, of a Snapshot or Rollback."""
    status, state = obj.status, obj.state
    progress, found = status.get("progress") or {}, obj.conditions
    steps, reported = status.get("steps") or (), progress.get("step") or None
    if state in FINAL:
        step = _ended_with(reported, steps)
    elif reported is None or any(s["name"] == reported and s.get("state") in _ENDED for s in steps):
        step = _next(reported, steps)
    else:
        step = reported
    figures = progress if reported == step else {}
    percent = min(max(int(progress.get("percent") or 0), 0), 99)
    # One that waits for a person is not reconciling.
    told = next((found[t].get("message") for t in _TELLING[state == "completed"] if t in found), None)
    times = [
        obj.meta["creationTimestamp"],
        progress.get("updatedAt"),
        status.get("completedAt"),
        *(x.get("lastTransitionTime") for x in found.values()),
        *(s.get("completedAt") or s.get("startedAt") for s in steps),
    ]
    return {
        "id": obj.id,
        "status": state,
        "step": step,
        "percent": 100 if state == "completed" else percent,
        "bytesDone": int(figures.get("bytesDone") or 0),
        "bytesTotal": int(figures.get("bytesTotal") or 0),
        "message": obj.error if state == "failed" else str(told or ""),
        # "05.5Z" is later than "05Z", and sorts before it.
        "time": max(str(t).rstrip("Z") for t in times if t) + "Z",
    }


def _next(reported: str | None, steps: Sequence[Object]) -> str | None:
    """The step that the operator will show after the reported one has ended: by the same rule, so that no step comes
    back."""
    begun = (Begun(s["name"], str(s.get("state")), s.get("startedAt"), s.get("completedAt")) for s in steps)
    return shown_step(begun, reported)


def _ended_with(reported: str | None, steps: Sequence[Object]) -> str | None:
    """The step that failed, else the last one of the operation itself: the cleanup of a rollback comes after its
    end."""
    failed = next((s["name"] for s in steps if s.get("state") == "Failed"), None)
    return failed or reported or _next(None, [s for s in steps if s["name"] != Step.CLEANUP])


def deleted_event(last: Object, noun: str, now: str) -> Object:
    """The final event of an operation whose object was deleted before it ended."""
    return {**last, "status": "failed", "message": f"The {noun} was deleted while it ran.", "time": now}
