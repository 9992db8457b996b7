"""An object that cannot be read: a field has a value that the API server's schema allows and the models do not. It says
so in its conditions."""

from collections.abc import Awaitable
from typing import Any

import structlog
from pydantic import ValidationError

from ocore_crds import conditions as c
from ocore_crds.text.sentences import shortened
from ocore_kube.types import OURS
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.kube.resources import Key, Object, any_kind

#: Objects that /metrics names at most.
NAMED = 20
#: Seconds until it is read again, at the latest: its status is corrected without an event that this operator wakes up
#: for.
AGAIN = 600.0

_log = structlog.get_logger()


async def reported(ctx: Context, key: Key, work: Awaitable[float | None]) -> float | None:
    """The result of a reconcile. Where it fails because the object cannot be read: the object's conditions name the
    field. Raises what the work raises otherwise."""
    try:
        return await work
    except ValueError:
        type_ = OURS[key.kind]
        obj = await ctx.kube.get(type_, key.namespace, key.name)
        error = _error(key, obj) if obj is not None else None
        if obj is None or error is None:
            raise
        _log.warning("unreadable object", kind=key.kind, namespace=key.namespace, name=key.name, error=str(error))
        conditions = _with(obj, _message(key, error), clock.text(ctx.now()))
        if conditions != (obj.get("status") or {}).get("conditions"):
            await ctx.kube.patch_status(type_, obj, {"conditions": conditions})
        return AGAIN


def _error(key: Key, obj: Object) -> ValidationError | None:
    """Why the object itself cannot be read; None: it can."""
    try:
        any_kind(key.kind, obj)
    except ValidationError as error:
        return error
    return None


def _message(key: Key, error: ValidationError) -> str:
    """Names the fields. pydantic names them below the model: which of the two it is follows from its name."""
    part = "status" if error.title.endswith("Status") else "spec"
    fields = ", ".join(
        f"{part}.{'.'.join(str(x) for x in found['loc'])}: {found['msg']}"
        for found in error.errors(include_input=False)[:3]
    )
    return shortened(
        f"The operator cannot read this {key.kind} and leaves it alone ({fields}). Correct the field, or delete the"
        " object.",
        2000,
    )


def _with(obj: Object, message: str, now: str) -> list[Any]:
    """The conditions with Stalled and Ready; the others stay as they are, because they may be what cannot be read."""
    status = obj.get("status") or {}
    known: list[Any] = status.get("conditions") or []
    mine = {c.STALLED: "True", c.READY: "False"}
    kept = [x for x in known if x.get("type") not in (*mine, c.RECONCILING)]
    for type_, value in mine.items():
        old: Object = next((x for x in known if x.get("type") == type_ and x.get("status") == value), {})
        kept.append(
            {
                "type": type_,
                "status": value,
                "reason": c.UNREADABLE,
                "message": message,
                "observedGeneration": obj["metadata"].get("generation", 0),
                "lastTransitionTime": _time(old) or now,
            }
        )
    return sorted(kept, key=lambda x: str(x.get("type")))


def _time(condition: Object) -> str:
    """When it was set last, if by this module: another time may be what cannot be read."""
    return str(condition.get("lastTransitionTime") or "") if condition.get("reason") == c.UNREADABLE else ""
