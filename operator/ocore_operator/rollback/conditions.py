"""The conditions and the progress of a rollback, from its stage. Pure."""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import ROLLBACK_STEPS, Step
from ocore_crds.rollback import RollbackStatus
from ocore_crds.snapshot import Progress
from ocore_operator import clock, summarize
from ocore_operator.errors import Failed
from ocore_operator.jobs.percent import percent

#: Stages in which a rollback is not called off by its deletion: it finishes first.
UNSTOPPABLE = ("Switch", "Inspect", "Resume", "HealthCheck", "Finish", "BackStop", "BackDrain", "BackSwitch", "BackJob")

_STAGES: dict[str, str] = {
    "Preflight": "Checks that the rollback can work.",
    "Restore": "Restores the snapshot beside the live environment.",
    "Prepare": "Prepares the switch; the environment runs.",
    "Stop": "Stops the workloads.",
    "Drain": "Waits until the workloads' pods are gone.",
    "Switch": "Switches to the restored copy.",
    "Inspect": "Looks at the databases' names: the switch Job gave no answer.",
    "Abort": "Is called off; stops what runs.",
    "Resume": "Starts the workloads again.",
    "HealthCheck": "Waits until the workloads are ready.",
    "Finish": "Notes that it ran.",
    "BackStop": "Stops the workloads, to switch back.",
    "BackDrain": "Waits until the workloads' pods are gone, to switch back.",
    "BackSwitch": "Switches back.",
    "BackJob": "Switches back by a Job of its own.",
}


def summarized(
    status: RollbackStatus, *, generation: int, deleting: bool, reason: str, message: str, now: datetime
) -> RollbackStatus:
    """With the conditions that the stage means. `reason`, `message`: what it waits for; empty: the stage's own words."""
    text = clock.text(now)
    if status.phase == "Complete":
        words = _complete_words(status)
        done = summarize.complete(status, _complete_reason(status), words, now=text, generation=generation)
        return _retained(done, generation, text)
    if status.phase == "Failed":
        end = Failed(status.failure_reason or c.INTERNAL_ERROR, status.failure_message or "")
        return _retained(summarize.outcome(status, end, now=text, generation=generation), generation, text)
    words = message or _STAGES.get(status.stage or "", "")
    if deleting and status.stage in UNSTOPPABLE:
        words = f"It was deleted during the switch, which is finished first. {words}"
    running = summarize.running(status, reason or c.RUNNING, words, now=text, generation=generation)
    return (
        running
        if status.stage in summarize.TOLD_BY_LOG
        else running.model_copy(update={"progress": _progress(running, text)})
    )


def _complete_reason(status: RollbackStatus) -> str:
    return c.SUCCEEDED if status.switched_at else c.ALREADY_EXECUTED


def _complete_words(status: RollbackStatus) -> str:
    if not status.switched_at:
        return "A rollback of this name and specification has run before; nothing was done. Use another name to run it again."
    seconds = status.refused_seconds or 0.0
    return f"The environment runs on snapshot {status.snapshot_name}; the database refused connections for {seconds:.1f} s."


def _retained(status: RollbackStatus, generation: int, now: str) -> RollbackStatus:
    """Whether the database and folders of before are kept."""
    if status.switched_at is None or status.position == "Old":
        return status
    name = status.previous_database or "the previous folder"
    if status.residue == "None":
        return summarize.with_condition(
            status,
            c.PREVIOUS_RETAINED,
            "False",
            c.UNDO_WINDOW_OVER,
            f"{name} was removed.",
            now=now,
            generation=generation,
        )
    words = f"{name} is kept until {status.undo_until}."
    if status.residue == "Unknown":
        words = f"{name} could not be removed; see the step Cleanup."
    return summarize.with_condition(
        status, c.PREVIOUS_RETAINED, "True", c.RETAINED, words, now=now, generation=generation
    )


def _progress(status: RollbackStatus, now: str) -> Progress | None:
    """From the steps, once no Job's log tells it. The percentage never falls, and is 100 only at the end."""
    done = {Step(s.name) for s in status.steps if s.state in ("Done", "Skipped")}
    current = next((s.name for s in status.steps if s.state == "Running"), None)
    old = status.progress
    if current is None:
        return old
    reached = max(percent(ROLLBACK_STEPS, done, {}), old.percent if old is not None else 0)
    if old is not None and (old.step, old.percent) == (current, reached):
        return old
    return Progress(step=current, percent=reached, updated_at=now)
