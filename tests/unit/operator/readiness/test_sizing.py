"""When sizes are measured on request, and what their result means."""

from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import DatabaseFacts, Failure, FilestoreFacts, Finding, ProbeResult, SizesResult
from ocore_crds.resources.environment import EnvironmentStatus, Operation, SizesStatus
from ocore_operator.errors import Failed, Waiting
from ocore_operator.jobs.observing.outcome import POLL, Absent, JobFailed, NoResult, Running, Starting, Succeeded
from ocore_operator.readiness import schedule, sizing
from ocore_operator.readiness.verdict import found, probe_failed
from support.operator.objects import OTHER_UID, UID, at, environment, moment
from support.operator.readiness import Beside

MEASURED = SizesResult(database_bytes=1000, filestore_bytes=50, filestore_files=2)


def due(now: float, sizes: SizesStatus | None, request: str) -> float | None:
    """Seconds after NOW at which `sizes` would be measured for the request."""
    return sizing.due_in(moment(now), sizes, schedule.requested({naming.ANNOTATION_PROBE_REQUESTED: request}))


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-03-01", "2026-03-01T12:00:00", "12:00:00Z", "0001-01-01T00:00:00+23:00", "9" * 40]
)
def test_what_is_no_time_requests_nothing(text: str) -> None:
    assert schedule.requested({naming.ANNOTATION_PROBE_REQUESTED: text}) is None
    assert sizing.due_in(moment(0), None, None) is None
    assert schedule.requested({}) is None


def test_a_request_is_read_in_whole_seconds_of_utc() -> None:
    found_ = schedule.requested({naming.ANNOTATION_PROBE_REQUESTED: "2026-03-01T14:00:00.9+02:00"})
    assert found_ == moment(0)


def test_a_request_is_due_until_a_measurement_has_ended_after_it() -> None:
    assert due(5, None, at(5)) == 0
    assert due(5, None, at(2)) == -3
    assert due(25, SizesStatus(measured_at=at(4), attempted_at=at(4)), at(5)) == -11
    assert due(25, SizesStatus(measured_at=at(5), attempted_at=at(5)), at(5)) is None
    assert due(25, SizesStatus(measured_at=at(5)), at(5)) is None, "a probe has measured them"


def test_a_failure_answers_a_request_too() -> None:
    assert due(60, SizesStatus(measured_at=at(0), attempted_at=at(6), attempt_error="x"), at(5)) is None


def test_between_two_measurements_is_a_pause_however_often_they_are_requested() -> None:
    sizes = SizesStatus(measured_at=at(0), attempted_at=at(0))
    assert due(1, sizes, at(1)) == sizing.PAUSE - 1
    assert due(9, sizes, at(9)) == sizing.PAUSE - 9
    assert due(10, sizes, at(10)) == 0


def test_a_request_for_a_later_time_waits_for_it() -> None:
    assert due(0, None, at(60)) == 60
    assert due(0, None, "9999-12-31T23:59:59Z") == schedule.HORIZON
    # One measurement at that time answers it.
    assert due(61, SizesStatus(measured_at=at(60), attempted_at=at(60)), at(60)) is None


# --- what a probe says of the sizes ---------------------------------------------------------------------------------


def probe_result(**fields: Any) -> ProbeResult:
    facts = {
        "database": DatabaseFacts(name="shop", server_version="17.2", server_major=17, size_bytes=900),
        "filestore": FilestoreFacts(file_count=3, size_bytes=70),
    }
    return ProbeResult(**{**facts, **fields})


def probed_status(result: ProbeResult | None = None, **status: Any) -> EnvironmentStatus:
    """The status after a probe that began at 1 and whose result was read at 3."""
    owner, result = environment(status=status or None), result or probe_result()
    after = found(owner, result, (15, 17), began=at(1), now=at(3))
    return sizing.probed(owner.spec, after, result, began=at(1))


def test_a_probe_measures_the_sizes_as_of_its_begin() -> None:
    sizes = probed_status().sizes
    assert sizes == SizesStatus(measured_at=at(1), database_bytes=900, filestore_bytes=70, filestore_files=3)


@pytest.mark.parametrize(
    "fields",
    [{"database": None}, {"filestore": None}, {"database": DatabaseFacts(name="shop", missing=True)}],
)
def test_a_probe_that_could_not_read_all_changes_no_sizes(fields: dict[str, Any]) -> None:
    old = SizesStatus(measured_at=at(-60), database_bytes=1).wire()
    assert probed_status(probe_result(**fields)).sizes is None
    after = probed_status(probe_result(**fields), sizes=old).sizes
    assert after is not None
    assert (after.measured_at, after.database_bytes) == (at(-60), 1)


def test_a_probe_does_not_replace_newer_sizes() -> None:
    newer = SizesStatus(measured_at=at(2), database_bytes=1)
    assert probed_status(sizes=newer.wire()).sizes == newer


def test_a_probe_keeps_the_name_of_a_measurement_that_runs() -> None:
    before = EnvironmentStatus(sizes=SizesStatus(measured_at=at(-60), attempted_at=at(-60)))
    assert sizing.attempt_name(probed_status(**before.wire())) == sizing.attempt_name(before)


def test_a_failed_probe_makes_no_sizes_fresh() -> None:
    before = probed_status()
    after = probe_failed(environment(status=before.wire()), c.JOB_LOST, "x", began=at(90), now=at(99))
    assert after.sizes == before.sizes


# --- the Job --------------------------------------------------------------------------------------------------------


class Site(Beside):
    """The reconcile of a measurement with a recorded Job."""

    def __init__(self, state: Any, *, stopping: bool = False, other: str = "") -> None:
        super().__init__(state, stopping=stopping, other=other)
        self.now = 30.0

    def measure(self, status: EnvironmentStatus, request: str | None) -> tuple[EnvironmentStatus, float | None]:
        return self.reconcile(status, request=request)


def ready() -> EnvironmentStatus:
    """Probed, and nothing but a measurement can be due: a proof is not possible."""
    return probed_status(probe_result(rollback=(Finding(reason=c.CAPACITY_UNKNOWN, message="Set the capacity."),)))


def test_a_request_starts_a_measurement() -> None:
    site, before = Site(Absent()), ready()
    status, after = site.measure(before, at(29))
    assert site.started == [f"measure-{UID.replace('-', '')[:12]}-{sizing.attempt_name(before)}-1"]
    assert (status, after) == (before, POLL)


def test_where_an_environment_is_not_ready_a_request_is_one_for_a_probe() -> None:
    """It measures as well."""
    site = Site(Absent())
    missing = Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE shop CREATEDB;")
    site.measure(probed_status(probe_result(rollback=(missing,))), at(29))
    assert site.started == []


def test_without_a_request_nothing_is_measured() -> None:
    site = Site(Absent())
    assert site.measure(ready(), None) == (ready(), None)
    assert site.measure(ready(), at(0)) == (ready(), None), "older than the last sizes"
    assert site.started == []


def test_an_environment_that_was_never_probed_is_not_measured() -> None:
    site = Site(Absent())
    assert site.measure(EnvironmentStatus(), at(29)) == (EnvironmentStatus(), None)
    assert site.started == []


def test_a_request_that_comes_too_soon_is_reconciled_again_in_time() -> None:
    site = Site(Absent())
    before = sizing.measured(ready(), MEASURED, ended=at(27))
    assert site.measure(before, at(29)) == (before, sizing.PAUSE - 3)
    assert site.started == []


@pytest.mark.parametrize("command", ["probe", "measure"])
def test_one_measurement_at_a_time(command: str) -> None:
    site = Site(Absent(), other=command)
    assert site.measure(ready(), at(29)) == (ready(), POLL)
    assert site.started == []


def test_no_measurement_beside_a_rollback() -> None:
    site = Site(Absent())
    site.rollback()
    site.measure(ready(), at(29))
    assert site.started == []
    lock = Operation(kind="Rollback", name="op", uid=OTHER_UID, since=at(0))
    site = Site(Absent())
    site.measure(ready().model_copy(update={"operation": lock}), at(29))
    assert site.started == []


def test_a_rollback_stops_a_measurement_that_runs() -> None:
    site = Site(Running(pod="p", node="n", since=at(0), ready=False, restarts=0))
    assert site.measure(ready(), at(29)) == (ready(), POLL)
    assert site.stopped == []
    site.rollback()
    site.measure(ready(), at(29))
    assert len(site.stopped) == 1


def test_a_measurement_that_starts_or_is_being_stopped_is_waited_for() -> None:
    assert Site(Starting("x", "y", at(0))).measure(ready(), at(29)) == (ready(), POLL)
    stopped = Site(Running(pod="p", node="n", since=at(0), ready=False, restarts=0), stopping=True)
    assert stopped.measure(ready(), at(29)) == (ready(), POLL)


def test_a_result_is_as_old_as_the_end_of_its_job() -> None:
    """However late the operator reads it."""
    site, before = Site(Succeeded(MEASURED, at(29))), ready()
    site.now = 500
    status, after = site.measure(before, at(28))
    assert status.sizes == SizesStatus(
        measured_at=at(29), attempted_at=at(29), database_bytes=1000, filestore_bytes=50, filestore_files=2
    )
    assert after == 0
    assert len(site.removed) == 1
    assert status.probe == before.probe, "a measurement is no probe"
    assert status.conditions == before.conditions
    assert sizing.attempt_name(status) != sizing.attempt_name(before)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (JobFailed(Failure(reason=c.DATABASE_UNREACHABLE, message="gone"), at(29)), "DatabaseUnreachable: gone"),
        (NoResult("its pod is gone", at(29)), "JobLost: The Job that measures left no result: its pod is gone"),
        (Succeeded(ProbeResult(), at(29)), "InternalError: The Job that measures reported a "),
    ],
)
def test_without_a_result_the_sizes_stay_as_old_as_they_are(state: Any, error: str) -> None:
    before = ready()
    assert before.sizes is not None
    status, _ = Site(state).measure(before, at(28))
    assert status.sizes is not None
    assert error in status.sizes.attempt_error
    assert (status.sizes.measured_at, status.sizes.database_bytes) == (before.sizes.measured_at, 900)
    assert due(60, status.sizes, at(28)) is None, "not repeated until the next request"


def test_a_measurement_waits_for_a_slot_and_reports_a_refusal() -> None:
    site = Site(Absent())
    site.refused = {"measure": Waiting(c.WAITING_FOR_JOB_SLOT, "full", 5)}
    assert site.measure(ready(), at(29)) == (ready(), POLL)
    site.refused = {"measure": Failed(c.JOB_REFUSED, "quota")}
    status, _ = site.measure(ready(), at(29))
    assert status.sizes is not None
    assert "JobRefused: quota" in status.sizes.attempt_error
