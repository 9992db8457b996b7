"""Turns outcomes into conditions and phase, and writes the status under the main field manager.

Each field manager has one module that writes with it, and owns the fields that it writes
(``tests/unit/operator/test_architecture.py`` checks this):

- ``ocore-operator``: all but what follows, by :func:`write` in ``summarize.py``, for all kinds
- ``ocore-operator-progress``: ``status.progress`` while an operation runs, in ``jobs/reporting/progress.py``
- ``ocore-operator-hold``: ``Environment.status.operation``, the operation lock, in ``operation_lock.py``
- ``ocore-operator-executed``: ``Environment.status.executedRollbacks`` and ``undoneRollbacks``, in
  ``rollback/effects.py``
- ``ocore-operator-pins``: ``Environment.status.pins``, in ``policy/effects.py``
- ``ocore-operator-retention``: ``Snapshot.status.keptBy``, ``expiresAt``, ``ruleEnds``, ``remoteKeptBy`` and
  ``remoteExpiresAt``, in ``policy/effects.py``
- ``ocore-operator-dependents``: ``Snapshot.status.dependents``, in ``snapshot/dependents.py``
- ``ocore-operator-restore-test``: ``Snapshot.status.restoreTestRequest``, in ``policy/effects.py``
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import structlog

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition, ObjectStatus
from ocore_crds.model import Model
from ocore_crds.rules import evidence
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Outcome, Stalled
from ocore_operator.kube.resources import Meta, Object, Resource

SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", bound=ObjectStatus)

#: Fields of other field managers: never part of what the main manager applies.
OWNED_ELSEWHERE = (
    *("operation", "executedRollbacks", "undoneRollbacks", "pins", "dependents", "restoreTestRequest"),
    *("keptBy", "expiresAt", "ruleEnds", "remoteKeptBy", "remoteExpiresAt"),
)
#: Applied by the main manager only at the end, so that 100 % and Complete appear together and no late figure overwrites
#: them.
PROGRESS = "progress"

_log = structlog.get_logger()


@dataclass(frozen=True)
class Stamp:
    """When a condition is set (RFC 3339), the generation of the spec that it describes, and the same time with
    milliseconds, for the end of an operation."""

    now: str
    generation: int
    exact: str = ""

    @classmethod
    def of(cls, meta: Meta, now: datetime) -> "Stamp":
        """For the object as it was read."""
        return cls(clock.text(now), meta.generation, clock.exact(now))


# --- conditions ------------------------------------------------------------------------------------------------


def running(status: StatusT, reason: str, message: str, stamp: Stamp) -> StatusT:
    """Reconciling=True, Ready=False(reason)."""
    return _say(status, stamp, reason, message, (c.RECONCILING,), ready="False", drop=(c.STALLED,))


def outcome(status: StatusT, end: Outcome, stamp: Stamp) -> StatusT:
    """Waiting: Reconciling=True and Ready=False(reason). Stalled: Stalled=True and Ready=False. Failed: Failed=True and
    Stalled=True (kstatus has no other condition for an object that will not become ready), Ready=False, phase Failed,
    completedAt."""
    if isinstance(end, Failed):
        types, drop = (c.FAILED, c.STALLED), (c.RECONCILING, c.COMPLETE)
        status = _say(status, stamp, end.reason, end.message, types, ready="False", drop=drop)
        return _ended(status, "Failed", stamp.exact or stamp.now)
    if isinstance(end, Stalled):
        return _say(status, stamp, end.reason, end.message, (c.STALLED,), ready="False", drop=(c.RECONCILING,))
    return running(status, end.reason, end.message, stamp)


def complete(status: StatusT, reason: str, message: str, stamp: Stamp) -> StatusT:
    """Complete=True and Ready=True; Reconciling, Stalled and Failed absent; phase Complete, completedAt."""
    drop = (c.RECONCILING, c.STALLED, c.FAILED)
    status = _say(status, stamp, reason, message, (c.COMPLETE,), ready="True", drop=drop)
    return _ended(status, "Complete", stamp.exact or stamp.now)


def previewed(status: StatusT, reason: str, message: str, stamp: Stamp) -> StatusT:
    """Previewed=True and Ready=True; never Complete: it did not run. Ready, because a preview does nothing but
    report."""
    drop = (c.RECONCILING, c.STALLED, c.FAILED, c.COMPLETE)
    return _say(status, stamp, reason, message, (c.PREVIEWED,), ready="True", drop=drop)


def ready(status: StatusT, reason: str, message: str, stamp: Stamp) -> StatusT:
    """Ready=True; Reconciling and Stalled absent."""
    return _say(status, stamp, reason, message, (), ready="True", drop=(c.RECONCILING, c.STALLED))


def not_ready(status: StatusT, reason: str, message: str, stamp: Stamp, *, passes: bool | None = None) -> StatusT:
    """Ready=False after a probe. Reconciling=True where it may pass (`passes`; None: by the reason), else Stalled=True.
    For kstatus, Ready=False alone is InProgress."""
    if reason in c.TRANSIENT if passes is None else passes:
        return running(status, reason, message, stamp)
    return outcome(status, Stalled(reason, message), stamp)


def with_condition(
    status: StatusT,
    type_: str,
    value: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    stamp: Stamp,
) -> StatusT:
    """The status with one more condition; the others stay."""
    found: tuple[Condition, ...] = status.conditions
    set_ = c.set_condition(found, type_, value, reason, message, now=stamp.now, generation=stamp.generation)
    return status.model_copy(update={"conditions": set_, "observed_generation": stamp.generation})


def without(status: StatusT, *types: str) -> StatusT:
    """The status without the conditions of these types."""
    kept: tuple[Condition, ...] = status.conditions
    return status.model_copy(update={"conditions": tuple(x for x in kept if x.type not in types)})


def _say(
    status: StatusT,
    stamp: Stamp,
    reason: str,
    message: str,
    types: tuple[str, ...],
    *,
    ready: Literal["True", "False"],
    drop: tuple[str, ...],
) -> StatusT:
    """These types are True, Ready is `ready`, all with that reason; `drop` are absent."""
    for type_ in types:
        status = with_condition(status, type_, "True", reason, message, stamp)
    return without(with_condition(status, c.READY, ready, reason, message, stamp), *drop)


def _ended(status: StatusT, phase: str, now: str) -> StatusT:
    """Phase and completedAt of an operation. Percent becomes 100 only here, and only for Complete."""
    update: dict[str, Any] = {"phase": phase}
    if getattr(status, "completed_at", None) is None:
        update["completed_at"] = now
    progress = getattr(status, "progress", None)
    if progress is not None and progress.percent != 100 and phase == "Complete":
        update["progress"] = progress.model_copy(update={"percent": 100, "updated_at": now})
    return status.model_copy(update=update)


# --- writing ---------------------------------------------------------------------------------------------------


def applied(status: ObjectStatus) -> Object:
    """What the main field manager owns of a status, in wire form."""
    data = status.wire()
    for name in OWNED_ELSEWHERE:
        data.pop(name, None)
    if not (hasattr(status, "conditions") and c.is_terminal(status.conditions)):
        data.pop(PROGRESS, None)
    return data


def evidenced(obj: Resource[SpecT, StatusT], status: StatusT) -> StatusT:
    """The status of a Snapshot or Rollback with its recoveryEvidence: at the one place that writes, so that it always
    fits the other fields."""
    found = evidence.of(obj.spec, status)
    return status if found is None else status.model_copy(update={"recovery_evidence": found})


async def write(ctx: Context, obj: Resource[SpecT, StatusT], status: StatusT) -> Resource[SpecT, StatusT] | None:
    """Writes the status where it differs from what was read, with the Events and metrics of its transitions. Returns
    the object as written; None where it is gone. Raises Conflict: the queue retries with a new read."""
    status = evidenced(obj, status)
    body = applied(status)
    if body == applied(obj.status):
        return obj
    new = await _apply(ctx, obj, status, body)
    if new is not None:
        _announce(ctx, obj, new)
    return new


async def write_quietly(
    ctx: Context, obj: Resource[SpecT, StatusT], status: StatusT
) -> Resource[SpecT, StatusT] | None:
    """As :func:`write`, for thousands of objects that are imported: without Events and counters, because nothing
    happened now."""
    status = evidenced(obj, status)
    return await _apply(ctx, obj, status, applied(status))


async def _apply(
    ctx: Context, obj: Resource[SpecT, StatusT], status: StatusT, body: Object
) -> Resource[SpecT, StatusT] | None:
    written = await ctx.kube.apply_status(obj, body)
    if written is None:
        return None
    ctx.catalog.put(obj.kind.kind, written)
    return replace(obj, meta=Meta.of(written), status=status)


def _announce(ctx: Context, old: Resource[SpecT, StatusT], new: Resource[SpecT, StatusT]) -> None:
    """Events, log lines and metrics for the conditions that changed."""
    before = {x.type: x for x in old.status.conditions}
    for condition in new.status.conditions:
        was = before.get(condition.type)
        if was is not None and was.status == condition.status and was.reason == condition.reason:
            continue
        _log.info(
            "condition", kind=new.kind.kind, namespace=new.meta.namespace, name=new.meta.name, condition=condition.type,
            status=condition.status, reason=condition.reason, message=condition.message[:500],
        )  # fmt: skip
        event = _event(condition, was)
        if event is not None:
            ctx.events.record(new, event, condition.reason, condition.message or condition.type)
    if c.is_terminal(new.status.conditions) and not c.is_terminal(old.status.conditions):
        _count(ctx, new)


def _event(condition: Condition, was: Condition | None) -> Literal["Normal", "Warning"] | None:
    """The type of Event for a transition, None for none: ends, what needs a person, and changes of readiness get
    one."""
    true = condition.status == "True"
    if condition.type == c.FAILED or (condition.type == c.STALLED and true):
        return "Warning"
    if condition.type in (c.COMPLETE, c.RECONCILING) and true:
        return "Normal"
    if condition.type in (c.VERIFIED, c.ROLLBACK_READY, c.REMOTE_COPIED, c.RESTORE_TESTED):
        if true:
            return "Normal"
        return "Warning" if condition.status == "False" else None
    if condition.type == c.READY and was is not None and was.status != condition.status:
        return "Normal" if true else None
    return None


def _count(ctx: Context, obj: Resource[SpecT, StatusT]) -> None:
    status: Any = obj.status
    if c.outcome(status.conditions) == "Previewed":
        return  # it did not run
    failed = c.find(status.conditions, c.FAILED)
    seconds: float | None = None
    if status.started_at and status.completed_at:
        seconds = clock.seconds_since(status.started_at, clock.parse(status.completed_at))
    ctx.metrics.ended(obj.key, failed.reason if failed is not None else "", seconds)
