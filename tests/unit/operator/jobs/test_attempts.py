"""What the driver answers about the attempts of a command."""

from dataclasses import replace

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands.table import CHECK_COPY, DELETE
from ocore_crds.protocol import CopyChecked, DeleteResult, Failure, Result
from ocore_operator.jobs.observing import attempts
from ocore_operator.jobs.observing.attempts import Done, Due, Failed, Series, Waits, once, soon
from ocore_operator.jobs.observing.outcome import POLL, Observation
from ocore_operator.kube.resources import Object
from support.operator.objects import UID, at, ended, job, moment, observation, on_a_lost_node, pod

OWNER = UID.replace("-", "")[:12]
CHECK = Series(CHECK_COPY, UID, CopyChecked, "The check", "5-")
FIRST = CHECK.job(1)
UNREACHABLE = Failure(reason=c.STORE_UNREACHABLE, message="no answer", retryable=True)
STARTED: Object = {"running": {"startedAt": at(5)}}


def report(failure: Failure | None = None) -> Object:
    """State of a container that has reported a result, or that failure."""
    payload = CopyChecked(objects=3) if failure is None else None
    found = Result(ok=failure is None, payload=payload, failure=failure, time=at(0))
    return ended(found.termination_message(), 0 if failure is None else 1)


def seen(
    state: Object | None = None, *, phase: str = "Running", seconds: float = 60, deleted: bool = False
) -> Observation:
    """The first attempt, whose pod has that state; None: it has no pod."""
    made = job(FIRST, CHECK_COPY.name)
    if deleted:
        made["metadata"]["deletionTimestamp"] = at(50)
    pods = [pod(FIRST, state, phase=phase)] if state is not None else []
    for each in pods:
        each["spec"]["restartPolicy"] = "Never"
    return observation([made], {FIRST: pods}, seconds=seconds)


def answer(found: Observation, pause: attempts.Pause = once) -> attempts.Answer[CopyChecked]:
    return CHECK.next(found, found.now, pause)


def test_the_newest_attempt_is_that_with_the_highest_number_of_the_series_alone() -> None:
    series = Series(DELETE, UID, DeleteResult, "The deletion", "left")
    names = [f"delete-{OWNER}-{end}" for end in ("left2", "left10", "left9", "11", "left-12", "remote-5-13")]
    assert series.newest(observation([job(name, "delete") for name in names], {})) == 10
    assert series.newest(observation([job(names[3], "delete")], {})) == 0


def test_a_series_reads_what_its_command_reports() -> None:
    with pytest.raises(ValueError, match="delete does not report a CopyChecked"):
        Series(DELETE, UID, CopyChecked, "The deletion")


def test_without_a_job_the_first_attempt_is_due() -> None:
    assert answer(observation([], {})) == Due(1)
    assert CHECK.next(observation([], {}), moment(60), once, 3) == Due(3)


def test_a_job_that_starts_or_runs_is_waited_for() -> None:
    waits = answer(seen({"waiting": {"reason": "ContainerCreating"}}, phase="Pending"))
    assert isinstance(waits, Waits)
    assert (waits.reason, waits.pod, waits.seconds) == ("", "", POLL)
    assert waits.message.startswith(f"Job {FIRST} is starting: ")
    assert waits.starting
    assert waits.says("Mine", "It starts.") == ("Mine", "It starts.")
    assert answer(seen(STARTED)) == Waits(POLL, FIRST, "", f"Job {FIRST} runs.", f"{FIRST}-x", ready=True)


def test_what_a_person_must_change_is_said_in_place_of_a_plans_own_text() -> None:
    waits = answer(seen({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, phase="Pending"))
    assert isinstance(waits, Waits)
    assert waits.says("Mine", "It starts.") == (c.JOB_PENDING, waits.message)
    assert "not found" in waits.message


def test_a_pod_that_does_not_end_names_its_node() -> None:
    waits = answer(on_a_lost_node(seen(STARTED, seconds=500)))
    assert isinstance(waits, Waits)
    assert waits.says("Mine", "It runs.") == (c.NODE_NOT_RESPONDING, waits.message)
    assert "node1 does not respond" in waits.message


def test_a_result_of_the_command_is_done_and_any_other_one_has_failed_for_good() -> None:
    found = seen(report(), phase="Succeeded")
    assert answer(found) == Done(CopyChecked(objects=3), at(60), 1, FIRST, at(0))
    other = Series(DELETE, UID, DeleteResult, "The deletion")
    wrong = other.at(replace(found, jobs={other.job(1): found.jobs[FIRST]}, pods={other.job(1): found.pods[FIRST]}), 1)
    assert isinstance(wrong, Failed)
    assert (wrong.failure.reason, wrong.failure.retryable, wrong.finished) == (c.INTERNAL_ERROR, False, at(60))
    assert wrong.unreported
    assert (
        wrong.failure.message
        == "The deletion reported a CopyChecked in place of a DeleteResult. Set OCORE_MOVER_IMAGE to the operator's"
        " version."
    )


def test_a_job_without_a_result_has_failed_and_may_be_repeated() -> None:
    gone = observation([job(FIRST, CHECK_COPY.name, condition="Complete")], {})
    lost = answer(gone)
    assert isinstance(lost, Failed)
    assert (lost.failure.reason, lost.failure.retryable, lost.unreported) == (c.JOB_LOST, True, True)
    assert lost.failure.message.startswith("The check left no result: ")
    assert answer(gone, soon(CHECK_COPY)) == Due(2, lost.failure)


def test_a_failure_is_followed_by_its_pause_and_then_by_the_next_attempt() -> None:
    found = seen(report(UNREACHABLE), phase="Failed", seconds=70)
    waits = answer(found, lambda _: 30.0)
    assert waits == Waits(20.0, FIRST, c.STORE_UNREACHABLE, UNREACHABLE.message, paused=True)
    assert answer(replace(found, now=moment(90)), lambda _: 30.0) == Due(2, UNREACHABLE)


def test_a_failure_that_stays_and_the_last_attempt_are_final() -> None:
    found = seen(report(UNREACHABLE), phase="Failed")
    assert isinstance(answer(found, once), Failed)
    assert isinstance(answer(found, soon(CHECK_COPY)), Due)
    final = seen(report(UNREACHABLE.model_copy(update={"retryable": False})), phase="Failed")
    assert isinstance(answer(final, soon(CHECK_COPY)), Failed)


def test_a_job_that_is_being_deleted_is_waited_for_unless_it_has_reported_a_result() -> None:
    """Its pod may still act: no attempt begins beside it."""
    starting: Object = {"waiting": {"reason": "ContainerCreating"}}
    states = (None, starting, STARTED, report(UNREACHABLE))
    for state in states:
        waits = answer(seen(state, deleted=True), soon(CHECK_COPY))
        assert waits == Waits(attempts.STOP_PAUSE, FIRST, "", f"Job {FIRST} is being deleted.")
    assert isinstance(answer(seen(report(), phase="Succeeded", deleted=True)), Done)
    lost = answer(on_a_lost_node(seen(STARTED, seconds=500, deleted=True)))
    assert isinstance(lost, Waits)
    assert lost.reason == c.NODE_NOT_RESPONDING


def test_a_job_acts_until_it_and_its_pods_have_ended() -> None:
    running = seen(STARTED)
    assert attempts.acts(running, [FIRST]) == FIRST
    assert not attempts.is_stopped(running, FIRST)
    assert attempts.is_stopped(seen(STARTED, deleted=True), FIRST)
    orphan = replace(running, jobs={})
    assert attempts.acts(orphan, [FIRST]) == FIRST
    assert attempts.is_stopped(orphan, FIRST)
    over = observation([job(FIRST, CHECK_COPY.name, condition="Failed")], {})
    assert attempts.acts(over, [FIRST]) is None


def test_a_program_that_has_ended_needs_no_stop_before_the_next_attempt() -> None:
    """Neither the Job nor the pod shows it yet, and the Job's name counts the attempts."""
    found = seen(report(UNREACHABLE))
    assert attempts.acts(found, [FIRST]) == FIRST
    assert attempts.acts(found, [FIRST], with_ended=False) is None
