"""The conditions and the progress of a rollback, from its stage. Pure."""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import Step
from ocore_crds.resources.rollback import RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import Progress
from ocore_crds.text.quantity import span
from ocore_operator import clock, summarize
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.rollback import plan_preview
from ocore_operator.rollback.transitions import unanswered
from ocore_operator.summarize import Stamp

#: Stages in which a deletion does not abort a rollback: it finishes first.
UNSTOPPABLE = ("Switch", "Inspect", "Resume", "HealthCheck", "Finish", "BackStop", "BackDrain", "BackJob")

#: What the operator does at a stage.
_STAGES: dict[str, str] = {
    "Preview": "Reading what a rollback would do; nothing is changed.",
    "Preflight": "Checking that the rollback can work.",
    "Restore": "Restoring the snapshot beside the live environment.",
    "Neutralize": "Neutralising the restored copy; the environment is running.",
    "Await": "Waiting for what the switch needs.",
    "Prepare": "Preparing the switch; the environment is running.",
    "Stop": "Stopping the workloads.",
    "Drain": "Waiting until the workloads' pods are gone.",
    "Switch": "Switching to the restored copy.",
    "Inspect": "Reading the position from the databases' names: the switch Job gave no answer.",
    "Abort": "Aborting: stopping Jobs.",
    "Resume": "Starting the workloads again.",
    "HealthCheck": "Waiting until the workloads are ready.",
    "Finish": "Recording in the Environment that the rollback ran.",
    "BackStop": "Stopping the workloads to switch back.",
    "BackDrain": "Waiting until the workloads' pods are gone, to switch back.",
    "BackJob": "Switching back.",
}


def summarized(
    status: RollbackStatus,
    *,
    generation: int,
    deleting: bool,
    reason: str,
    message: str,
    now: datetime,
    stalled: bool = False,
) -> RollbackStatus:
    """The status with the conditions of its stage. `reason`, `message`: what it waits for; empty: the stage's own
    message. `stalled`: it waits for a person."""
    stamp = Stamp(clock.text(now), generation)
    if status.warnings:
        messages = "\n".join(w.message for w in status.warnings)
        status = summarize.with_condition(
            status, c.PREFLIGHT_WARNINGS, "True", status.warnings[0].reason, messages, stamp
        )
    if status.preview is not None:
        return summarize.previewed(
            status, plan_preview.reason(status.preview), plan_preview.summary(status.preview), stamp
        )
    if status.phase in ("Complete", "SwitchedBack"):
        status = status.model_copy(update={"progress": _final_progress(status, stamp.now)})
    if status.phase == "Complete":
        reason = c.SUCCEEDED if status.switched_at else c.ALREADY_EXECUTED
        done = summarize.complete(status, reason, _complete_message(status), stamp)
        return _retained(done, stamp)
    if status.phase == "SwitchedBack":
        reason = c.UNDONE if status.undone_by is not None else c.SWITCHED_BACK
        message = _switched_back_message(status)
        done = summarize.complete(status, reason, message, stamp)
        # It stays Complete: it did run. Stalled and not Ready: the environment is not what the Rollback asks for.
        done = summarize.outcome(done, Stalled(reason, message), stamp)
        return _retained(done.model_copy(update={"phase": status.phase}), stamp)
    if status.phase == "Failed":
        end = Failed(status.failure_reason or c.INTERNAL_ERROR, status.failure_message or "")
        return _retained(summarize.outcome(status, end, stamp), stamp)
    text = message or _STAGES.get("Preflight" if unanswered(status) else status.stage or "", "")
    if deleting and status.stage in UNSTOPPABLE:
        text = f"The Rollback was deleted during the switch, which is finished first. {text}"
    stopped = status.quiesced_at is not None and any(w.replicas for w in status.workloads)
    if reason == c.NODE_NOT_RESPONDING and stopped and status.resumed_at is None:
        text += " The application is stopped until then."
    waits = Stalled(reason, text) if stalled else Waiting(reason or c.RUNNING, text, 0)
    return summarize.outcome(status, waits, stamp)


def _complete_message(status: RollbackStatus) -> str:
    if not status.switched_at:
        return (
            "A rollback of this name and specification has run before. Nothing was done. To run it again, use another"
            " name."
        )
    if status.undo is not None:
        return " ".join((_undo_message(status.undo, status), *_downtime(status)))
    created = ""
    if status.live_missing:
        created = f" Database {status.live_database} did not exist and was created from it."
    return " ".join((f"The environment runs on snapshot {status.snapshot_name}.{created}", *_downtime(status)))


def _undo_message(undo: UndoStatus, status: RollbackStatus) -> str:
    what = (
        "the data from before it" if undo.to == "Old" else f"snapshot {status.snapshot_name} and what was written since"
    )
    return f"Rollback {undo.rollback_name} is undone: the environment runs on {what}."


def _downtime(status: RollbackStatus) -> tuple[str, ...]:
    """Sentences about how long users had no application, and for how much of that the database refused connections. A
    figure that is not known is left out."""
    refused = f"{span(status.refused_seconds)}" if status.refused_seconds is not None else ""
    stopped = any(w.replicas for w in status.workloads)
    if not stopped or status.quiesced_at is None or status.ready_at is None:
        return (f"The database refused connections for {refused}.",) if refused else ()
    down = (clock.parse(status.ready_at) - clock.parse(status.quiesced_at)).total_seconds()
    text = f"The application was down for {span(down)}, from the stop of its workloads until they were ready."
    return (text, f"For {refused} of that time the database refused connections.") if refused else (text,)


def _switched_back_message(status: RollbackStatus) -> str:
    if status.undone_by is not None and status.imported is not None:
        return f"Rollback {status.undone_by} has undone it."
    if status.undone_by is not None:
        return (
            f"Rollback {status.undone_by} has undone it. The environment runs on what it ran on before. To go forth"
            f" again, undo {status.undone_by} within its undo window."
        )
    if status.undo is not None:
        return (
            f"Rollback {status.undo.rollback_name} was undone, and was switched back by hand, or by a failover that"
            f" lost the renames, before {status.switched_back_at}. Create a new Rollback under another name to undo it"
            " again."
        )
    return (
        f"The environment was rolled back to snapshot {status.snapshot_name}, and was switched back by hand, or by a"
        f" failover that lost the renames, before {status.switched_back_at}. It runs on its previous data. Create a new"
        " Rollback under another name to roll back again."
    )


def _retained(status: RollbackStatus, stamp: Stamp) -> RollbackStatus:
    """PreviousRetained, or SwitchedBackRetained after a switch back: whether the database and folders that are not live
    are kept."""
    if status.switched_at is None or status.position is None:
        return status
    if status.undone_by is not None:
        status = summarize.without(status, c.SWITCHED_BACK_RETAINED)
        message = f"Rollback {status.undone_by} has taken over what was kept."
        return summarize.with_condition(status, c.PREVIOUS_RETAINED, "False", c.UNDONE, message, stamp)
    if status.undo is not None and status.position == "Old" and status.phase == "Failed":
        return status  # it belongs to the other Rollback again
    if status.position == "New" and status.live_missing:
        message = (
            f"Database {status.live_database} did not exist before the rollback: there is no previous one to go"
            " back to."
        )
        return summarize.with_condition(status, c.PREVIOUS_RETAINED, "False", c.NO_PREVIOUS, message, stamp)
    if status.position == "New":
        type_, name = c.PREVIOUS_RETAINED, status.previous_database or "the previous folder"
    else:
        type_, name = c.SWITCHED_BACK_RETAINED, status.restored_database or "the staged folder"
    if status.imported is not None:
        message = f"Whether {name} still exists is not in the record that this Rollback was imported from."
        return summarize.with_condition(status, type_, "Unknown", c.IMPORT_INCOMPLETE, message, stamp)
    other = {c.PREVIOUS_RETAINED, c.SWITCHED_BACK_RETAINED} - {type_}
    status = summarize.without(status, *other)  # it was switched by hand
    if status.residue == "None":
        message = f"{name} was removed."
        return summarize.with_condition(status, type_, "False", c.UNDO_WINDOW_OVER, message, stamp)
    message = f"{name} is kept until {status.undo_until}."
    if status.position == "Old":
        message = (
            f"{name}, which may have users' changes from before the switch back, is kept until {status.undo_until}."
        )
    if status.residue == "Unknown":
        message = f"{name} could not be removed. See the step Cleanup in status.steps."
    return summarize.with_condition(status, type_, "True", c.RETAINED, message, stamp)


def _final_progress(status: RollbackStatus, now: str) -> Progress | None:
    """At the last step of the rollback itself, whichever one was reported last. None where none ran."""
    done = [s.name for s in status.steps if s.state == "Done" and s.name != Step.CLEANUP]
    old = status.progress
    if not done or (old is not None and (old.step, old.percent) == (done[-1], 100)):
        return old
    return Progress(step=done[-1], percent=100, updated_at=now)
