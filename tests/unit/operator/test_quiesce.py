"""The rules by which a Rollback and a Snapshot stop workloads and start them again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_operator.workloads import quiesce
from ocore_operator.workloads.quiesce import Later, Refused, SetReplicas
from ocore_operator.workloads.view import Peer, WorkloadView

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RUNS = WorkloadView("Deployment", "shop", replicas=2, pods=2, grace_seconds=30)
STOPPED = replace(RUNS, replicas=0, pods=0)
WORKER = WorkloadView("StatefulSet", "worker", replicas=0, pods=0, grace_seconds=600)
GONE = WorkloadView("Deployment", "cron", exists=False)


def refused(seconds_ago: float) -> Refused:
    return Refused(NOW - timedelta(seconds=seconds_ago), "denied.")


@pytest.mark.parametrize(
    ("peer", "announced", "expected"),
    [
        (None, False, "Announce"),
        (None, True, None),
        (Peer("Rollback r1", stopping=True, older=False), True, "Withdraw"),
        (Peer("Rollback r1", stopping=False, older=True), True, "Withdraw"),
    ],
)
def test_an_operation_announces_itself_and_the_younger_one_withdraws(
    peer: Peer | None, announced: bool, expected: str | None
) -> None:
    assert quiesce.take_turn(peer, [RUNS], announced=announced) == expected


@pytest.mark.parametrize("announced", [False, True])
def test_the_older_one_waits_until_the_other_has_withdrawn(announced: bool) -> None:
    peer = Peer("Snapshot s1", stopping=False, older=False)
    assert quiesce.take_turn(peer, [RUNS, WORKER], announced=announced) == Later(
        2.0, "Snapshot s1 also stops Deployment shop, StatefulSet worker. Waiting until it has ended."
    )


def test_a_workload_that_does_not_exist_is_named() -> None:
    assert quiesce.missing([RUNS, WORKER], "Rollback") is None
    found = quiesce.missing([RUNS, GONE], "Rollback")
    assert found is not None
    assert found.reason == c.WORKLOAD_NOT_FOUND
    assert found.message.startswith("Deployment cron does not exist.")
    assert found.message.endswith("create a new Rollback.")


def test_only_what_runs_is_stopped() -> None:
    single = replace(WORKER, replicas=1)
    assert quiesce.stop([RUNS, single, GONE], 0, None, NOW) == SetReplicas(((RUNS, 0), (single, 0)))
    assert quiesce.stop([STOPPED, WORKER, GONE], 1000, None, NOW) is None


def test_the_stop_has_a_minute() -> None:
    assert isinstance(quiesce.stop([RUNS], 60, None, NOW), SetReplicas)
    found = quiesce.stop([RUNS], 61, refused(1), NOW)
    assert isinstance(found, Failure)
    assert found.reason == c.WORKLOAD_NOT_STOPPED
    assert "Deployment shop could not be scaled to zero within 60 s: denied. Correct" in found.message
    silent = quiesce.stop([RUNS], 61, None, NOW)
    assert isinstance(silent, Failure)
    assert "within 60 s. Correct" in silent.message


def test_what_others_start_ends_the_operation() -> None:
    assert quiesce.scaled_up([STOPPED, GONE], "before the switch", "Rollback") is None
    found = quiesce.scaled_up([RUNS, WORKER], "before the switch", "Rollback")
    assert found is not None
    assert found.reason == c.WORKLOAD_SCALED_UP
    assert found.message.startswith("Deployment shop was scaled up before the switch,")
    assert "ignoreDifferences" in found.message


def test_what_others_start_before_the_freeze_or_the_switch_is_stopped_again() -> None:
    """Within the limit of the drain: the grace period of the slowest one, and two minutes."""
    for passed in (0, 720):
        assert quiesce.stop_again([STOPPED, WORKER], passed, None, NOW, "before", "Rollback") is None
        again = quiesce.stop_again([RUNS, WORKER], passed, None, NOW, "before", "Rollback")
        pause = quiesce.Later(quiesce.AGAIN_SECONDS, "Another client scaled up Deployment shop. Scaled to zero again.")
        assert again == SetReplicas(((RUNS, 0),), then=pause)
    waits = quiesce.stop_again([RUNS, WORKER], 10, refused(1), NOW, "before", "Rollback")
    assert isinstance(waits, Later)
    found = quiesce.stop_again([RUNS, WORKER], 721, None, NOW, "before", "Rollback")
    assert isinstance(found, Failure)
    assert found.reason == c.WORKLOAD_SCALED_UP


def test_the_pods_have_their_grace_period_and_two_minutes_more() -> None:
    ending = replace(STOPPED, pods=1)
    assert quiesce.drain([STOPPED, replace(GONE, pods=1)], 0, NOW) is None
    for passed, pause in ((1, 0.2), (5, 0.5), (720, 1.0)):  # the grace period of the slowest one
        assert quiesce.drain([ending, WORKER], passed, NOW) == Later(
            pause, "Waiting until the pods of Deployment shop are gone, for 720 s at most.", c.RUNNING, stalled=False
        )
    found = quiesce.drain([ending, WORKER], 721, NOW)
    assert isinstance(found, Failure)
    assert found.reason == c.WORKLOAD_NOT_STOPPED
    assert found.message == "After 720 s pods of Deployment shop are left. The workloads are started again."


def test_the_pod_that_is_waited_for_is_named_with_the_time_that_it_has() -> None:
    """The one with the longest time left. In steps: each text is a write of the status."""

    def says(*workloads: WorkloadView) -> str:
        found = quiesce.drain(workloads, 1, NOW)
        assert isinstance(found, Later)
        return found.message

    slow = replace(
        STOPPED, pods=2, grace_seconds=35, leaving="shop-1", leaves_by=NOW + timedelta(seconds=27, milliseconds=300)
    )
    text = "Waiting until pod shop-1 of Deployment shop has ended: 30 s at most (terminationGracePeriodSeconds: 35)."
    assert says(slow, replace(WORKER, pods=1)) == text
    assert says(replace(slow, leaves_by=NOW + timedelta(seconds=30))) == text
    assert ": 5 s at most" in says(replace(slow, leaves_by=NOW + timedelta(seconds=1)))
    longer = replace(WORKER, pods=1, leaving="worker-1", leaves_by=NOW + timedelta(seconds=31))
    assert "worker-1" in says(slow, longer)
    late = replace(slow, leaves_by=NOW)
    text = (
        "Pod shop-1 of Deployment shop has not ended within its grace period. Its node may not respond, or a finalizer"
    )
    assert says(late) == f"{text} keeps it. Waiting for 155 s in all."
    assert "worker-1 of" in says(late, replace(longer, leaves_by=NOW - timedelta(seconds=-1)))
    assert (
        says(replace(slow, leaves_by=None)) == "Waiting until the pods of Deployment shop are gone, for 155 s at most."
    )
    assert "shop-1" in says(slow, replace(WORKER, leaving="gone", leaves_by=NOW + timedelta(seconds=99)))


def test_without_workloads_there_is_no_grace_period() -> None:
    assert quiesce.grace_seconds(()) == 0


def test_late_only_what_is_still_stopped_is_started() -> None:
    scaled = replace(RUNS, replicas=5)
    wanted = [(STOPPED, 2), (scaled, 2), (WORKER, 0), (GONE, 1)]
    assert quiesce.to_start(wanted, late=False) == ((STOPPED, 2), (scaled, 2))
    assert quiesce.to_start(wanted, late=True) == ((STOPPED, 2),)


@pytest.mark.parametrize(("passed", "pause"), [(2, 5), (100, 20), (1000, 60)])
def test_a_refused_start_is_repeated_after_a_pause_that_grows(passed: float, pause: float) -> None:
    targets = ((STOPPED, 2),)
    soon = quiesce.start(targets, passed, refused(1), NOW, late=False)
    assert soon == Later(pause - 1, "The API server refuses to scale Deployment shop to 2: denied. Retrying.")
    soon = quiesce.start(targets, passed, refused(pause - 0.5), NOW, late=False)
    assert isinstance(soon, Later)
    assert soon.seconds == 0.5
    for ago in (pause, pause + 100):
        assert quiesce.start(targets, passed, refused(ago), NOW, late=False) == SetReplicas(targets)
    assert quiesce.start(targets, passed, None, NOW, late=True) == SetReplicas(targets)


def test_a_start_that_is_refused_for_long_is_for_a_person() -> None:
    found = quiesce.start(((STOPPED, 2),), 200, refused(1), NOW, late=True)
    assert isinstance(found, Later)
    assert (found.reason, found.stalled, found.seconds) == (c.WORKLOAD_NOT_RESUMED, True, 39)
    assert found.message.startswith("The application is stopped. The API server refuses to scale Deployment shop to 2")
    assert found.message.endswith("or scale by hand.")
