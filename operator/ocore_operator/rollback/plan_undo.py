"""An undo: a Rollback that makes live again what another one has kept. Pure.

The databases and folders keep the names that the first rollback gave them (UndoStatus.names_id); an undo renames them
back, and the undo of an undo forth again. Of these Rollbacks one owns what is not live, and only the owner drops it. An
undo takes it over BEFORE it switches, by an entry in the Environment (status.undoneRollbacks, compare and swap under
the operation lock). It gives it back where it did not switch, or was switched back (docs/decisions/0018).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import SwitchResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Idle, Note, Record, SetLock
from ocore_operator.rollback.snapshot_and_environment import target_of
from ocore_operator.rollback.transitions import change, returned, stamp, undone
from ocore_operator.rollback.world import Action, Do, SettleUndo, TakeOver, UndoneView, World
from ocore_operator.workloads.quiesce import nothing_stops

#: Seconds between two reconciles of a Rollback while an undo of it runs. The release of the operation lock queues it,
#: too.
TAKEN_OVER_SECONDS = 10
#: By how much a cleanup is postponed while an undo runs.
POSTPONED_SECONDS = 600


@dataclass(frozen=True)
class Refusal:
    """Why a rollback may not start. `patience`: it may pass within a minute."""

    reason: str
    message: str
    patience: bool = False


# --- of the undo -----------------------------------------------------------------------------------------------------


def refusal(spec: RollbackSpec, world: World, now: datetime) -> Refusal | None:
    """Why the named Rollback cannot be undone; None where it can."""
    if spec.undo is None:
        return None
    view = world.undone
    if view is None:
        text = (
            f"There is no Rollback {spec.undo.rollback_ref.name} in this namespace. Correct undo.rollbackRef in a new"
            " Rollback."
        )
        return Refusal(c.ROLLBACK_NOT_FOUND, text, patience=True)
    if view.status.stage != "Ended":
        text = (
            f"Rollback {view.name} is not finished. To stop it, delete it; to undo it, create the undo once it is"
            " finished."
        )
        return Refusal(c.ROLLBACK_NOT_FINISHED, text, patience=True)
    return _nothing_kept(view, now) or _elsewhere(view, world) or _writers(view, world) or _superseded(view)


def _nothing_kept(view: UndoneView, now: datetime) -> Refusal | None:
    status = view.status
    instead = "Create a Rollback to a snapshot instead."
    if view.taken_by:
        text = (
            f"Rollback {view.name} was undone by Rollback {view.taken_by} already. To go forth again, undo"
            f" {view.taken_by}."
        )
        return Refusal(c.ALREADY_UNDONE, text)
    if status.switched_at is None or (
        status.undo is not None and status.phase == "Failed" and status.position == "Old"
    ):
        text = (
            f"Rollback {view.name} has not switched the environment, or only for a moment, so there is nothing to undo."
        )
        return Refusal(c.NOTHING_TO_UNDO, text)
    if status.imported is not None:
        text = f"Rollback {view.name} was imported: what it kept is not known here. {instead}"
        return Refusal(c.NOTHING_TO_UNDO, text)
    if status.position is None:
        text = (
            f"It is unknown what the environment runs on after Rollback {view.name}. See its status, then create a new"
            " Rollback."
        )
        return Refusal(c.POSITION_UNKNOWN, text)
    if status.live_missing:
        text = (
            f"Database {status.live_database} did not exist before Rollback {view.name}, so there is nothing to go back"
            f" to. {instead}"
        )
        return Refusal(c.NOTHING_TO_UNDO, text)
    ended = status.undo_until is None or now >= parse(status.undo_until)
    if view.deleting or status.residue != "Pending" or status.cleanup_attempt > 0 or ended:
        when = f" at {status.undo_until}" if ended and status.undo_until else ""
        text = f"The undo window of Rollback {view.name} has ended{when}: what it kept is removed. {instead}"
        return Refusal(c.UNDO_WINDOW_OVER, text)
    return None


def _elsewhere(view: UndoneView, world: World) -> Refusal | None:
    environment, status = world.environment, view.status
    if environment is None or environment.status.id is None:
        text = (
            f"Environment {status.environment_name} of Rollback {view.name} does not exist. Create it again with the"
            " same spec.id."
        )
        return Refusal(c.ENVIRONMENT_NOT_FOUND, text, patience=True)
    if environment.status.id != status.environment_id:
        text = (
            f"Rollback {view.name} was of the environment with id {status.environment_id}; {environment.meta.name} has"
            f" id {environment.status.id}. If it is the same environment, created again, set its spec.id to the first."
        )
        return Refusal(c.OTHER_ENVIRONMENT, text)
    if target_of(environment) != status.target:
        text = (
            f"Environment {environment.meta.name} names another database or filestore than at the start of Rollback"
            f" {view.name} (its status.target). Change it back, or create a Rollback to a snapshot."
        )
        return Refusal(c.ENVIRONMENT_CHANGED, text)
    return None


def _writers(view: UndoneView, world: World) -> Refusal | None:
    """An undo needs no RollbackReady, which may be False for what only a restore needs; but for this."""
    target = view.status.target
    found = nothing_stops(target.layout, target.claim_name, world.workloads) if target is not None else None
    return Refusal(found.reason, found.message) if found is not None else None


def _superseded(view: UndoneView) -> Refusal | None:
    if not view.later:
        return None
    text = (
        f"Rollback {view.later} ran after Rollback {view.name}: an undo would lose what it did. Undo {view.later}"
        " first."
    )
    return Refusal(c.OTHER_ROLLBACK_SINCE, text)


def take_over(status: RollbackStatus, world: World) -> Do | None:
    """Before the signal; None where it is done, or this is no undo."""
    if status.undo is None or world.undo_state == "Running":
        return None
    return Do(TakeOver(), after="operator-undo-taken-over")


def settle(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Do | None:
    """What the Environment must still be informed of; None where nothing is, or the position is unknown."""
    if status.undo is None or world.undo_state != "Running" or status.position is None:
        return None
    if status.position == "New":
        return Do(SettleUndo("Undone"), after="operator-undo-settled")
    keep_until = stamp(now + timedelta(seconds=spec.undo_window_seconds)) if status.switched_at is not None else None
    return Do(SettleUndo("Returned", keep_until), after="operator-undo-settled")


# --- of the Rollback that is undone ----------------------------------------------------------------------------------


def while_taken_over(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """What a finished Rollback does because of an undo of it; None: what it does without one."""
    entry = world.taken_over
    if entry is None or status.undone_by is not None:
        return None
    if entry.state == "Running":
        due = max((parse(t) for t in (status.undo_until, status.cleanup_after) if t), default=now)
        if status.residue == "Pending" and due <= now:  # a due cleanup would go before one of the undo
            return Record(change(status, cleanup_after=stamp(now + timedelta(seconds=POSTPONED_SECONDS))))
        return Do(SetLock(held=False)) if world.lock.state == "Ours" else Idle(TAKEN_OVER_SECONDS)
    if entry.state == "Undone":
        note = Note("Normal", c.UNDONE, f"Undone by Rollback {entry.by}, which has taken over what was kept.")
        return Record(undone(status, entry.by), (note,))
    until = entry.keep_until
    if until is not None and status.residue == "Pending" and (status.undo_until is None or until > status.undo_until):
        return Record(returned(status, until))
    return None


# --- positions -------------------------------------------------------------------------------------------------------


def as_seen_by(status: RollbackStatus, result: SwitchResult) -> SwitchResult:
    """A Job's result from the point of view of this Rollback. The Job reports the position of the first rollback. For
    an undo that goes back from it, what was Old is New, and what was restored is previous."""
    if status.undo is None or status.undo.to == "New":
        return result
    return result.model_copy(
        update={
            "position": opposite(result.position),
            "previous_database": result.restored_database,
            "restored_database": result.previous_database,
        }
    )


def opposite(position: Literal["Old", "New"]) -> Literal["Old", "New"]:
    """The other position."""
    return "New" if position == "Old" else "Old"
