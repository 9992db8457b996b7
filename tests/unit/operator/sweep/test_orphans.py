"""When a store is swept, whose orphans may be removed, and what is reported. Pure; test_sweeps.py runs the Jobs."""

from typing import Any

import pytest

from ocore_crds import naming
from ocore_crds.reports.stored_contents import OrphansResult, RemovedOrphans
from ocore_crds.resources.snapshotstore import OrphansStatus, RemovalStatus
from ocore_operator.kube.resources import Store
from ocore_operator.sweep import orphans
from support.operator import objects
from support.operator.objects import at, moment

DAY = 86400.0
REPORT = "a" * 64
REMOVAL = RemovalStatus(report=REPORT, finished_at=at(50), message="1 objects were removed.")


def store(last: OrphansStatus | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> Store:
    s3 = {"s3": {"bucket": "snapshots", "credentialsSecretRef": {"name": "s3"}}, **spec}
    status = {"orphans": last.wire()} if last is not None else None
    return objects.store(s3, status, annotations=annotations or {})


def last(**changes: Any) -> OrphansStatus:
    return OrphansStatus.model_validate({"checkedAt": at(100), "report": REPORT, **changes})


# --- when -------------------------------------------------------------------------------------------------------------


def test_a_new_store_is_swept_after_the_interval() -> None:
    assert orphans.due_in(store(), DAY, moment(10)) == DAY - 10
    assert orphans.due_in(store(), 0, moment(10)) is None
    assert orphans.due_in(store(last()), DAY, moment(110)) == DAY - 10
    assert orphans.due_in(store(last()), 0, moment(110)) is None


def test_one_that_failed_is_repeated_after_an_hour() -> None:
    failed = store(last(message="The sweep failed."))
    assert orphans.due_in(failed, DAY, moment(110)) == 3600 - 10
    assert orphans.due_in(failed, 0, moment(110)) == 3600 - 10, "also where sweeps come only when asked"
    assert orphans.due_in(failed, 60, moment(110)) == 50


@pytest.mark.parametrize(("finished", "due"), [(101, 0.0), (100, DAY - 10), (99, DAY - 10)])
def test_a_removal_is_followed_by_a_sweep(finished: float, due: float) -> None:
    removal = REMOVAL.model_copy(update={"finished_at": at(finished)})
    assert orphans.due_in(store(last(removal=removal.wire())), DAY, moment(110)) == due


def test_one_that_was_asked_for_comes_at_once() -> None:
    asked = {naming.ANNOTATION_SWEEP_REQUESTED: at(105)}
    assert orphans.due_in(store(last(), asked), DAY, moment(110)) == 0.0
    assert orphans.due_in(store(last(), {naming.ANNOTATION_SWEEP_REQUESTED: at(100)}), DAY, moment(110)) == DAY - 10
    assert orphans.due_in(store(None, {naming.ANNOTATION_SWEEP_REQUESTED: at(5)}), 0, moment(110)) == 0.0


LOCK = {"bucket": "snapshots", "credentialsSecretRef": {"name": "s3"}, "lock": {"days": 2, "renew": True}}


def test_row_155_locks_are_renewed_in_time_whatever_the_interval() -> None:
    """Half of the days has not passed after two sweeps."""
    locked = store(last(), s3=LOCK)
    for interval in (0, DAY, 365 * DAY):
        assert orphans.due_in(locked, interval, moment(110)) == DAY / 2 - 10
    assert orphans.due_in(locked, 60, moment(110)) == 50
    assert orphans.due_in(store(last(), s3={**LOCK, "lock": {"days": 2}}), 0, moment(110)) is None


@pytest.mark.parametrize(
    ("spec", "renews"),
    [
        ({}, False),
        ({"s3": LOCK}, True),
        ({"s3": {**LOCK, "lock": {"days": 2}}}, False),
        ({"s3": LOCK, "import": True}, False),
        ({"s3": LOCK, "import": True, "takeOver": True}, True),
    ],
)
def test_locks_are_renewed_where_this_cluster_owns_the_store(spec: dict[str, Any], *, renews: bool) -> None:
    assert orphans.renews(store(last(), **spec)) is renews
    assert orphans.renews(objects.store({"claim": {"claimName": "backups"}})) is False


# --- what may be removed ----------------------------------------------------------------------------------------------

ASKED = {naming.ANNOTATION_REMOVE_ORPHANS: REPORT}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (store(last(), ASKED), REPORT),
        (store(last()), None),
        (store(None, ASKED), None),
        (store(last(report="0" * 64), ASKED), None),
        (store(last(report="f" * 64), ASKED), None),
        (store(last(report=None), ASKED), None),
        (store(last(removal=REMOVAL.wire()), ASKED), None),  # once
        (store(last(removal=REMOVAL.model_copy(update={"report": "0" * 64}).wire()), ASKED), REPORT),
        (store(last(removal=REMOVAL.model_copy(update={"report": "f" * 64}).wire()), ASKED), REPORT),
        (store(last(), ASKED, access="ReadOnly"), None),
        (store(last(), ASKED, **{"import": True}), None),
        (store(last(), ASKED, **{"import": True, "takeOver": True}), REPORT),
    ],
)
def test_only_the_newest_report_is_removed_and_only_by_its_owner(found: Store, wanted: str | None) -> None:
    assert orphans.removal_wanted(found) == wanted


def test_each_sweep_and_each_removal_has_a_job_of_its_own() -> None:
    stores = (
        store(),
        store(last()),
        store(last(checkedAt=at(101))),
        store(last(removal=REMOVAL.wire())),
        store(last(), {naming.ANNOTATION_SWEEP_REQUESTED: at(105)}),
    )
    names = [orphans.attempt(each, what) for each in stores for what in ("sweep", "remove x")]
    assert len(set(names)) == 10
    assert {len(name) for name in names} == {8}
    assert names == [orphans.attempt(each, what) for each in stores for what in ("sweep", "remove x")]


# --- what is reported -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("claimed", "unclaimed"), [(0, 3), (2, 1), (3, 0), (4, 0)])
def test_a_sweep_reports_what_no_snapshot_here_claims(claimed: int, unclaimed: int) -> None:
    result = OrphansResult(objects=2, bytes=10, manifests=3, report=REPORT)
    before = store(last(message="The sweep failed.", removal=REMOVAL.wire()))
    found = orphans.swept(before, result, claimed, moment(200))
    assert (found.checked_at, found.objects, found.unclaimed, found.report) == (at(200), 2, unclaimed, REPORT)
    assert (found.message, found.removal) == ("", REMOVAL)
    assert orphans.swept(store(), result, claimed, moment(200)).removal is None


def test_a_sweep_that_found_nothing_has_no_report() -> None:
    assert orphans.swept(store(last()), OrphansResult(), 0, moment(200)).report is None


def test_a_sweep_that_failed_keeps_the_figures() -> None:
    found = orphans.not_swept(store(last(objects=7)), "no answer.", moment(200))
    assert (found.objects, found.report, found.checked_at) == (7, REPORT, at(200))
    assert found.message == "The sweep failed: no answer."
    first = orphans.not_swept(store(), "no answer.", moment(200))
    assert (first.objects, first.report, first.checked_at) == (0, None, at(200))


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (0, "2 objects (1.0 KiB) and 1 uploads were removed."),
        (3, "1 uploads were removed. 3 stayed: they are named now, were changed, or were gone."),
    ],
)
def test_a_removal_is_reported_beside_the_figures(kept: int, says: str) -> None:
    found = orphans.removed(last(objects=7), RemovedOrphans(objects=2, bytes=1024, uploads=1, kept=kept), moment(200))
    assert found.objects == 7
    assert found.removal is not None
    assert (found.removal.report, found.removal.finished_at) == (REPORT, at(200))
    assert (found.removal.objects, found.removal.uploads, found.removal.kept) == (2, 1, kept)
    assert found.removal.message.endswith(says)


def test_a_removal_that_failed_names_its_report() -> None:
    found = orphans.not_removed(last(objects=7), "no answer.", moment(200))
    assert (found.objects, found.removal is not None) == (7, True)
    assert found.removal is not None
    assert (found.removal.report, found.removal.message) == (REPORT, "The removal failed: no answer.")
