"""Row 97: a Job of a terminal Snapshot that ends without its command's result is not created again at once, again and
again."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds.protocol import CopyChecked, DeleteResult, Payload
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import plan_after_end, plan_remote, plan_state
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import (
    Action,
    RemoteView,
    StartCheckCopy,
    StartDelete,
    StartState,
    StartVerify,
    World,
)
from support.operator.objects import SETTINGS, UID, at, job, moment, observation, pod
from support.operator.remote_copies import copy
from support.operator.terminal_snapshot import said, terminal

ENDED = 60  # seconds, as `job` and `said` have it
ASKED = int(moment(50).timestamp())
COPY = copy("Completed", attempts=1, storeId="far", checkRequestedAt=at(50)).wire()
STATE = StoredState(retention="Policy", deletion_policy="Delete")
CHECKED, DELETED = CopyChecked(objects=1), DeleteResult(objects=1)

#: Command and attempt of the Job, the Snapshot, the result of another command, the seconds until it is repeated, and
#: how.
CASES: dict[str, tuple[str, Snapshot, Payload, float, Action]] = {
    "delete left1": (
        "left1",
        terminal("Complete", residue="Pending"),
        CHECKED,
        plan_after_end.RETRY_PAUSE,
        StartDelete(2, Deletes.LEFTOVERS),
    ),
    "verify 1": (
        "1",
        terminal("Complete", spec={"verify": "Full"}),
        CHECKED,
        plan_after_end.RETRY_PAUSE,
        StartVerify(2),
    ),
    "write-state 1": (
        "1",
        terminal("Complete", spec={"retention": "Policy", "deletionPolicy": "Delete"}, storedState={"pinLabel": "q3"}),
        CHECKED,
        plan_state.RETRY_PAUSE,
        StartState(2, STATE),
    ),
    f"check-copy {ASKED}-1": (
        f"{ASKED}-1",
        terminal("Complete", remote=COPY),
        DELETED,
        plan_remote.CHECK_RETRY,
        StartCheckCopy(f"{ASKED}-2"),
    ),
}


def _decided(case: str, snap: Snapshot, seconds: float, other: Payload | None) -> tuple[Snapshot, Action]:
    """What is decided at that second; a failure that is shown is shown before."""
    command, attempt = case.split()
    name = job_name(command, UID, attempt)
    pods = {name: [pod(name, said(other), phase="Succeeded")]} if other is not None else {}
    found = job(name, command, condition="Failed" if other is None else "Complete")
    seen = observation([found], pods, seconds=seconds)
    fields: dict[str, Any] = {"remote": RemoteView(), "store_writable": True}
    action = decide(World(snap, moment(seconds), SETTINGS, seen, **fields))
    if isinstance(action, Record):
        snap = snap.with_status(action.status)
        action = decide(World(snap, moment(seconds), SETTINGS, seen, **fields))
    return snap, action


@pytest.mark.parametrize("reports", [False, True], ids=["its pod is gone", "another result"])
@pytest.mark.parametrize("case", CASES)
def test_row_97_it_is_repeated_after_a_pause(case: str, reports: bool) -> None:
    _, snap, other, pause, again = CASES[case]
    if reports and case.startswith("write-state"):
        pause = plan_state.LATER_PAUSE  # what cannot pass is repeated as rarely as later attempts
    said_ = other if reports else None
    snap, action = _decided(case, snap, ENDED + pause / 2, said_)
    assert isinstance(action, Idle)
    assert _decided(case, snap, ENDED + pause + 1, said_)[1] == again


#: A container whose image is not in the registry.
NO_IMAGE: Object = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


def _not_started(case: str, snap: Snapshot, seconds: float, *, gone: bool = False) -> Action:
    """What is decided at that second about a Job whose pod waits for its image; `gone`: it has been deleted."""
    command, attempt = case.split()
    name = job_name(command, UID, attempt)
    pods = {name: [pod(name, NO_IMAGE, phase="Pending")]}
    seen = observation([], {}, seconds=seconds) if gone else observation([job(name, command)], pods, seconds=seconds)
    world = World(snap, moment(seconds), SETTINGS, seen, remote=RemoteView(), store_writable=True)
    action = decide(world)
    if isinstance(action, Record):  # why it is repeated is shown before
        action = decide(replace(world, snapshot=snap.with_status(action.status)))
    return action


@pytest.mark.parametrize("case", CASES)
def test_row_101_one_that_does_not_start_gives_way_to_another(case: str) -> None:
    """The image, the Secret or the node may be there now: the operator's settings may have changed since the Job was
    created. It has the start deadline; two attempts never act at the same time."""
    _, snap, _, pause, again = CASES[case]
    if case.startswith("write-state"):
        pause = plan_state.LATER_PAUSE  # as above
    limit = SETTINGS.start_deadline
    assert isinstance(_not_started(case, snap, limit + pause - 1), Idle)
    command, attempt = case.split()
    assert _not_started(case, snap, limit + pause) == StopJob(job_name(command, UID, attempt))
    first = _not_started(case, snap, limit + pause + 3, gone=True)
    assert type(first) is type(again)


@pytest.mark.parametrize("phase", ["Running", "Failed"])
@pytest.mark.parametrize("case", CASES)
def test_row_101_an_attempt_that_ended_counts_though_its_job_does_not_show_it_yet(case: str, phase: str) -> None:
    """A busy control plane. The Job stays: without it, the next attempt would be the first again."""
    _, snap, _, pause, again = CASES[case]
    if case.startswith("write-state"):
        pause = plan_state.LATER_PAUSE  # as above
    command, attempt = case.split()
    name, seconds = job_name(command, UID, attempt), ENDED + pause + 1
    killed: Object = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": at(ENDED)}}
    ended = pod(name, killed, phase=phase)
    ended["spec"] = {**ended.get("spec", {}), "restartPolicy": "Never"}
    seen = observation([job(name, command)], {name: [ended]}, seconds=seconds)
    world = World(snap, moment(seconds), SETTINGS, seen, remote=RemoteView(), store_writable=True)
    action = decide(world)
    if isinstance(action, Record):  # why it is repeated is shown before
        action = decide(replace(world, snapshot=snap.with_status(action.status)))
    assert action == again
