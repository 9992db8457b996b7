"""Names of the Jobs of a series, and what is read from their states."""

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands.table import DELETE
from ocore_crds.protocol import CopyChecked, DeleteResult, Failure
from ocore_crds.remote_copy import CopyPlace
from ocore_operator.jobs.outcome import (
    Absent,
    Done,
    JobFailed,
    JobState,
    NoResult,
    Running,
    Starting,
    Succeeded,
    read,
)
from ocore_operator.jobs.series import Deletes, Series, copying, deletion, state_writing
from ocore_operator.kube.resources import Snapshot
from support.operator.objects import UID, at, job, moment, observation, snapshot, started
from support.operator.remote_copies import DONE

OWNER = UID.replace("-", "")[:12]
ASKED, BEFORE = int(moment(61).timestamp()), int(moment(7).timestamp())


def _snapshot(*, replaces: bool = False, remote: bool = True) -> Snapshot:
    place = CopyPlace(store_name="before", store_id="before", requested_at=at(7)) if replaces else None
    copy = DONE.model_copy(update={"replaces": place}) if remote else None
    snap = snapshot(status=started())
    return snap.with_status(snap.status.model_copy(update={"remote": copy}))


def test_the_names_stay_those_of_jobs_that_an_earlier_version_has_created() -> None:
    snap = _snapshot(replaces=True)
    assert {each: deletion(snap, each).job(3) for each in Deletes} == {
        Deletes.ALL: f"delete-{OWNER}-3",
        Deletes.LEFTOVERS: f"delete-{OWNER}-left3",
        Deletes.LOCAL: f"delete-{OWNER}-local-{ASKED}-3",
        Deletes.COPY: f"delete-{OWNER}-remote-{ASKED}-3",
        Deletes.REPLACED: f"delete-{OWNER}-replaced-{BEFORE}-3",
    }
    assert copying(snap).job(1) == f"copy-remote-{OWNER}-{ASKED}-1"
    assert state_writing(snap, remote=False).job(2) == f"write-state-{OWNER}-2"
    assert state_writing(snap, remote=True).job(2) == f"write-state-{OWNER}-remote-{ASKED}-2"


@pytest.mark.parametrize("deletes", [Deletes.LOCAL, Deletes.COPY, Deletes.REPLACED])
def test_without_a_copy_nothing_else_is_deleted_in_its_place(deletes: Deletes) -> None:
    with pytest.raises(ValueError, match=deletes.name):
        deletion(_snapshot(remote=False), deletes)


def test_only_a_copy_that_was_replaced_is_deleted_as_one() -> None:
    with pytest.raises(ValueError, match="REPLACED"):
        deletion(_snapshot(), Deletes.REPLACED)
    with pytest.raises(ValueError, match="no remote copy"):
        copying(_snapshot(remote=False))


def test_the_newest_attempt_is_that_with_the_highest_number_of_the_series_alone() -> None:
    series = Series(DELETE, UID, DeleteResult, "The deletion", "left")
    names = [f"delete-{OWNER}-{end}" for end in ("left2", "left10", "left9", "11", "left-12", "remote-5-13")]
    found = observation([job(name, "delete") for name in names], {})
    assert series.newest(found)[0] == 10
    assert series.newest(observation([job(names[3], "delete")], {})) == (0, Absent())


STATES: tuple[JobState, ...] = (
    Absent(),
    Starting("NoPod", "no pod was made", at(1)),
    Running("p", "n", at(1), ready=True, restarts=0),
    JobFailed(Failure(reason=c.STORE_UNREACHABLE, message="no answer", retryable=True), at(2)),
)


@pytest.mark.parametrize("state", STATES)
def test_a_state_without_a_result_is_read_as_it_is(state: JobState) -> None:
    assert read(state, CopyChecked, "The check") is state


def test_a_result_of_the_command_is_done_and_any_other_one_has_failed_for_good() -> None:
    done = Succeeded(CopyChecked(objects=3), at(9))
    assert read(done, CopyChecked, "The check") == Done(CopyChecked(objects=3), at(9))
    other = read(done, DeleteResult, "The deletion")
    assert isinstance(other, JobFailed)
    assert (other.failure.reason, other.failure.retryable, other.finished) == (c.INTERNAL_ERROR, False, at(9))
    assert other.unreported
    assert (
        other.failure.message
        == "The deletion reported a CopyChecked in place of a DeleteResult. Set OCORE_MOVER_IMAGE to the operator's"
        " version."
    )


def test_a_job_without_a_result_has_failed_and_may_be_repeated() -> None:
    lost = read(NoResult("its Job was deleted", at(9)), CopyChecked, "The check")
    assert isinstance(lost, JobFailed)
    assert lost.failure == Failure(
        reason=c.JOB_LOST, message="The check left no result: its Job was deleted.", retryable=True
    )
    assert (lost.finished, lost.unreported) == (at(9), True)


def test_a_series_reads_what_its_command_reports() -> None:
    with pytest.raises(ValueError, match="delete does not report a CopyChecked"):
        Series(DELETE, UID, CopyChecked, "The deletion")
