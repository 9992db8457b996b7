"""Which finished Rollbacks of an environment stay listed. Pure.

The newest ones up to the limit stay, and the newest one that switched, because the environment runs on its snapshot. A
temporary preview that was left behind goes. Older ones are removed when nothing depends on the object any more. One
that was applied from a file is never removed: it would be applied again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ocore_crds import conditions, naming
from ocore_crds.rules import gitops
from ocore_crds.text import timestamps

#: Time after which a temporary preview was left behind: its report is read within seconds.
LEFT_BEHIND = timedelta(minutes=10)
#: Reasons of a Rollback that did nothing because an earlier one of its name and spec had run. So something creates it
#: again.
CREATED_AGAIN = (conditions.ALREADY_EXECUTED, conditions.SWITCHED_BACK, conditions.OUTCOME_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Finished:
    """A terminal Rollback that is not being deleted."""

    name: str
    time: str  # when it became terminal
    switched: bool  # the environment ran on its snapshot, at least for a while
    removable: bool  # apart from its place and its undo window
    preview: bool = False  # with dryRun: it never ran
    temporary: bool = False  # a preview that its maker removes
    undo_until: str = ""  # end of the undo window; empty: there was none


def finished_of(rollback: Mapping[str, Any]) -> Finished | None:
    """From a Rollback as the API server has it; None: it is not terminal, or is being deleted."""
    meta, status = rollback["metadata"], rollback.get("status") or {}
    if "deletionTimestamp" in meta or not conditions.is_terminal(status.get("conditions") or ()):
        return None
    preview = bool((rollback.get("spec") or {}).get("dryRun"))
    return Finished(
        name=meta["name"],
        time=status.get("completedAt") or meta["creationTimestamp"],
        switched=bool(status.get("switchedAt")),
        removable=_nothing_depends_on(meta, status) and not gitops.may_be_applied_again(meta),
        preview=preview,
        temporary=preview and naming.ANNOTATION_TEMPORARY in (meta.get("annotations") or ()),
        undo_until=status.get("undoUntil") or "",
    )


def _nothing_depends_on(meta: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether no cleanup remains, and the store has the evidence.

    The restore Job stores the evidence before it reports it, and the switch Job stores `started` before it can switch.
    So a Rollback that switched and has its evidence in the status has both in the store.
    """
    if naming.FINALIZER_ROLLBACK in (meta.get("finalizers") or ()):
        return False
    if status.get("imported"):
        return True  # it was made of what the store has
    if status.get("residue") != "None":
        return False
    if status.get("switchedAt"):
        return bool(status.get("evidence"))
    reasons = {x.get("reason") for x in status.get("conditions") or () if x["status"] == "True"}
    return not reasons.intersection(CREATED_AGAIN)


def beyond(finished: Iterable[Finished], limit: int, now: datetime) -> list[str]:
    """Names of the Rollbacks of one environment to remove, oldest first. `limit`: how many stay; 0: all. It holds for
    previews apart from the others: looking does not push out what ran. Temporary previews that were left behind go
    whatever the limit."""
    listed = tuple(finished)
    previews, ran = [f for f in listed if f.preview], [f for f in listed if not f.preview]
    left = timestamps.text(now - LEFT_BEHIND)
    names = {f.name for f in listed if f.temporary and f.removable and f.time <= left}
    names |= {*_beyond(previews, limit, now), *_beyond(ran, limit, now)}
    return [f.name for f in sorted(listed, key=lambda f: (f.time, f.name)) if f.name in names]


def _beyond(finished: Iterable[Finished], limit: int, now: datetime) -> list[str]:
    newest_first = sorted(finished, key=lambda f: (f.time, f.name), reverse=True)
    if limit == 0:
        return []
    runs_on = next((f.name for f in newest_first if f.switched), None)
    moment = timestamps.text(now)
    old = (f for f in newest_first[limit:] if f.removable and f.name != runs_on and f.undo_until <= moment)
    return [f.name for f in old][::-1]
