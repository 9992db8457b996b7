"""Predictions: from what was measured last, a rollback or a test restore, else from the snapshot, else none; always
labelled."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.resources.restore_test import RestoreTestFinding, RestoreTestStatus
from ocore_crds.resources.rollback import RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import SavedWorkload, SnapshotStatus
from ocore_operator.rollback.prediction import (
    FIXED_SECONDS,
    LATEST,
    RESTORE_PER_DUMP,
    MeasuredRestore,
    PastRollback,
    SnapshotRates,
    measured_of,
    past_of,
    predict,
)
from ocore_operator.workloads.view import WorkloadView

GB = 10**9
RATES = SnapshotRates(database_bytes=10 * GB, dump_seconds=40.0, filestore_bytes=GB, copy_seconds=10.0)


def past(
    restore: float = 106.0, down: float | None = 4.0, size: int | None = 10 * GB, ended: str = "2026-01-01"
) -> PastRollback:
    return PastRollback(f"{ended}T00:00:00Z", restore, down, size)


def test_the_last_rollback_of_the_same_size() -> None:
    found = predict([past()], None, RATES, None)
    assert (found.duration_seconds, found.downtime_seconds) == (110.0, 4.0)
    assert (found.duration_source, found.downtime_source, found.rollbacks) == ("Rollbacks", "Rollbacks", 1)


@pytest.mark.parametrize("measured", [[past()], []])
def test_the_time_that_the_application_needs_to_stop_is_said(measured: list[PastRollback]) -> None:
    """Whether a downtime is known or not."""
    shop, worker = (
        WorkloadView("Deployment", n, replicas=1, grace_seconds=g) for n, g in (("shop", 35), ("mail", 600))
    )
    cron = WorkloadView("CronJob", "cron", replicas=1, grace_seconds=9000, api_version="batch/v1")
    found = predict(measured, None, RATES, None, (shop, replace(worker, replicas=0), cron))
    text = "needs to stop: at most 35 s (terminationGracePeriodSeconds of Deployment shop)."
    assert found.explanation.endswith(text)
    assert "600 s (terminationGracePeriodSeconds of Deployment mail)" in (
        predict(measured, None, RATES, None, (shop, worker)).explanation
    )
    assert "terminationGrace" not in predict(measured, None, RATES, None).explanation


def test_the_restore_grows_with_the_database_and_the_downtime_does_not() -> None:
    found = predict([past(size=5 * GB)], None, RATES, None)
    assert found.duration_seconds == FIXED_SECONDS + 2 * (106.0 - FIXED_SECONDS) + 4.0
    assert found.downtime_seconds == 4.0


def test_the_median_of_the_newest() -> None:
    old = [past(restore=5000.0, ended="2025-01-01")] * 3
    new = [
        past(restore=r, down=d, ended=f"2026-01-0{i}")
        for i, (r, d) in enumerate([(100, 1), (110, 2), (120, 3), (130, 4), (900, 90)], 1)
    ]
    found = predict([*old, *new], None, RATES, None)
    assert (found.rollbacks, found.duration_seconds, found.downtime_seconds) == (LATEST, 123.0, 3.0)


def test_unknown_sizes_are_not_scaled() -> None:
    assert predict([past(size=None)], None, RATES, None).duration_seconds == 110.0
    assert predict([past()], None, SnapshotRates(), None).duration_seconds == 110.0


def test_rollbacks_that_stopped_nothing_have_no_downtime() -> None:
    found = predict([past(down=None)], None, RATES, None)
    assert (found.downtime_seconds, found.downtime_source, found.duration_seconds) == (None, "Unknown", 106.0)


def test_without_one_the_snapshots_own_times() -> None:
    found = predict([], None, RATES, 100)
    assert (found.duration_seconds, found.duration_source) == (FIXED_SECONDS + 40.0 * RESTORE_PER_DUMP, "Snapshot")
    assert (found.downtime_seconds, found.downtime_source) == (None, "Unknown")
    assert "unknown" in found.explanation
    # The files take longer than the database.
    assert predict([], None, RATES, 50 * GB).duration_seconds == FIXED_SECONDS + 500.0


TESTED = MeasuredRestore("weekly", "2026-02-01T00:00:00Z", 60.0, 5 * GB, 30.0, GB)


def test_a_test_restore_that_is_newer_than_the_last_rollback() -> None:
    found = predict([past(ended="2026-01-31")], TESTED, RATES, GB)
    assert found.duration_seconds == FIXED_SECONDS + 2 * 60.0 + 4.0, (
        "scaled to the database, and the rollback's downtime"
    )
    assert (found.duration_source, found.downtime_source, found.rollbacks) == ("TestRestore", "Rollbacks", 1)
    for part in ("weekly", "2026-02-01T00:00:00Z", "scaled"):
        assert part in found.explanation
    assert predict([past(ended="2026-02-02")], TESTED, RATES, GB).duration_source == "Rollbacks"


def test_a_test_restore_without_any_rollback() -> None:
    found = predict([], TESTED, RATES, 10 * GB)
    assert (found.duration_seconds, found.duration_source) == (FIXED_SECONDS + 300.0, "TestRestore"), "the files"
    assert (found.downtime_seconds, found.downtime_source) == (None, "Unknown")
    assert "The downtime is unknown." in found.explanation
    # Files that are there are not restored, and what was not measured is not scaled.
    assert predict([], TESTED, RATES, 0).duration_seconds == FIXED_SECONDS + 120.0
    bare = replace(TESTED, database_bytes=0, file_bytes=0, separate_server=True)
    found = predict([], bare, RATES, None)
    assert found.duration_seconds == FIXED_SECONDS + 60.0
    assert "on a server of its own" in found.explanation


def test_the_figures_of_a_test_restore() -> None:
    test = RestoreTestStatus(
        tested_at="2026-02-01T00:00:00Z",
        predicted_rollback_seconds=66.0,
        download_seconds=10.0,
        load_seconds=40.0,
        check_seconds=10.0,
        files_seconds=30.0,
        file_bytes=GB,
        database_bytes=4 * GB,
    )
    status = SnapshotStatus(restore_test=test, sizes=SnapshotSizes(database_bytes=5 * GB))
    assert measured_of("weekly", status) == TESTED
    failed = test.model_copy(update={"findings": (RestoreTestFinding(reason="Corrupt"),)})
    assert measured_of("weekly", status.model_copy(update={"restore_test": failed})) is None
    assert measured_of("weekly", SnapshotStatus()) is None


def test_without_anything_nothing_is_invented() -> None:
    found = predict([], None, SnapshotRates(), None)
    assert (found.duration_seconds, found.downtime_seconds) == (None, None)
    assert found.explanation


@given(
    st.lists(st.builds(PastRollback, st.just("2026-01-01T00:00:00Z"), st.floats(0, 1e6), st.none() | st.floats(0, 1e5),
                       st.none() | st.integers(0, 10**13))),
    st.builds(SnapshotRates, st.integers(0, 10**13), st.none() | st.floats(0, 1e6), st.integers(0, 10**13),
              st.none() | st.floats(0, 1e6)),
    st.none() | st.integers(0, 10**13),
    st.none() | st.builds(MeasuredRestore, st.just("s"),
                          st.sampled_from(["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]), st.floats(0, 1e6),
                          st.integers(0, 10**13), st.floats(0, 1e6), st.integers(0, 10**13)),
)  # fmt: skip
def test_whatever_was_recorded(
    history: list[PastRollback], rates: SnapshotRates, move: int | None, tested: MeasuredRestore | None
) -> None:
    found = predict(history, tested, rates, move)
    assert found.duration_seconds is None or found.duration_seconds >= 0
    assert (found.duration_seconds is None) == (found.duration_source == "Unknown")
    assert (found.downtime_seconds is None) == (found.downtime_source == "Unknown")


RAN = RollbackStatus(
    started_at="2026-01-01T00:00:00Z",
    quiesced_at="2026-01-01T00:01:00Z",
    switched_at="2026-01-01T00:01:02Z",
    ready_at="2026-01-01T00:01:05Z",
    workloads=(SavedWorkload(kind="Deployment", name="shop", replicas=1),),
)


def test_the_figures_of_a_finished_rollback() -> None:
    assert past_of(RAN, 7) == PastRollback("2026-01-01T00:01:05Z", 60.0, 5.0, 7)
    idle = RAN.model_copy(update={"workloads": (SavedWorkload(kind="Deployment", name="shop", replicas=0),)})
    assert past_of(idle, 7) == PastRollback("2026-01-01T00:01:05Z", 60.0, None, 7)


@pytest.mark.parametrize(
    "changes",
    [
        {"switched_at": None},
        {"ready_at": None},
        {"quiesced_at": None},
        {"switched_back_at": "2026-01-01T00:02:00Z"},
        {"undo": UndoStatus(rollback_name="r", rollback_id="i", names_id="i", to="Old")},
    ],
)
def test_others_have_none(changes: dict[str, object]) -> None:
    assert past_of(RAN.model_copy(update=changes), 7) is None
