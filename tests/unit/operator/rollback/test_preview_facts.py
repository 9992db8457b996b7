"""What a preview reads of earlier rollbacks, and of one that is switching the environment now."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator.context import Context
from ocore_operator.kube import resources
from ocore_operator.rollback import preview_facts
from ocore_operator.rollback.prediction import MeasuredRestore, PastRollback, SnapshotRates, rates_of
from ocore_operator.rollback.world import PreviewFacts
from support.operator.catalogs import new_catalog
from support.operator.objects import UID, at, environment, obj, snapshot

SIZES = {"databaseBytes": 1000, "databaseRestoreBytes": 300, "filestoreBytes": 50}
TAKEN = snapshot(
    status={
        "id": UID,
        "consistentAt": at(0),
        "serverVersion": "17.2",
        "sizes": SIZES,
        "steps": [
            {"name": "DumpDatabase", "state": "Done", "startedAt": at(0), "completedAt": at(40)},
            {"name": "CopyFilestore", "state": "Skipped", "startedAt": at(0), "completedAt": at(9)},
        ],
    }
)
ENVIRONMENT = environment(status={"id": UID})


def past(name: str, minute: int, **status: Any) -> Any:
    """A Rollback that ran: a minute of restore, five seconds of downtime."""
    begin = 60.0 * minute
    full = {
        "stage": "Ended", "environmentId": UID, "snapshotName": "before", "snapshotId": UID, "startedAt": at(begin),
        "quiescedAt": at(begin + 60), "switchedAt": at(begin + 62), "readyAt": at(begin + 65),
        "workloads": [{"kind": "Deployment", "name": "shop", "replicas": 1}], **status,
    }  # fmt: skip
    return obj("Rollback", name, {"snapshotRef": {"name": "before"}}, full, uid=name)


class Kube:
    """The lists and objects that are read."""

    def __init__(self, rollbacks: list[Any], snapshots: dict[str, Any]) -> None:
        self.rollbacks = rollbacks
        self.snapshots = snapshots

    async def pages(self, type_: Any, namespace: str) -> AsyncIterator[list[Any]]:
        assert (type_, namespace) == (ROLLBACKS, "shop")
        for each in self.rollbacks:
            yield [each]

    async def get(self, type_: Any, namespace: str, name: str) -> Any:
        assert (type_, namespace) == (SNAPSHOTS, "shop")
        return self.snapshots.get(name)


def restored(name: str, minute: int, status: str = "True") -> Any:
    """A Snapshot that was restored as a test: 40 s for the database."""
    full = {
        "sizes": SIZES,
        "conditions": [
            {"type": "RestoreTested", "status": status, "reason": "X", "message": "", "lastTransitionTime": at(0)}
        ],
        "restoreTest": {"testedAt": at(60.0 * minute), "predictedRollbackSeconds": 46.0, "loadSeconds": 40.0},
    }
    return obj("Snapshot", name, {"environmentRef": {"name": "shop"}}, full, uid=name)


def read(
    rollbacks: list[Any],
    *restored_ones: Any,
    stage: str = "Preview",
    dry_run: bool = True,
    taken: bool = True,
    gone: bool = False,
) -> PreviewFacts | None:
    catalog = new_catalog()
    for each in rollbacks:
        catalog.put("Rollback", each)
    for each in restored_ones:
        catalog.put("Snapshot", each)
    snapshots = {
        "before": {
            "metadata": {**obj("Snapshot", "before", {})["metadata"]},
            "spec": {"environmentRef": {"name": "shop"}},
            "status": {"id": UID, "sizes": SIZES},
        }
    }
    found: dict[str, Any] = snapshots if taken else {}
    found |= {} if gone else {s["metadata"]["name"]: s for s in restored_ones}
    ctx = cast(Context, SimpleNamespace(kube=Kube(rollbacks, found), catalog=catalog))
    spec = {"snapshotRef": {"name": "before"}, "dryRun": dry_run}
    rollback = resources.rollback(obj("Rollback", "look", spec, {"stage": stage}))
    return asyncio.run(preview_facts.read(ctx, rollback, ENVIRONMENT))


def test_the_snapshots_own_times_and_the_newest_rollbacks() -> None:
    others = [
        past("other-environment", 9, environmentId="another"),
        past("running", 8, stage="Restore", switchedAt=None),
        past("switched-back", 7, switchedBackAt=at(500)),
    ]
    facts = read([*others, *(past(f"r{i}", i) for i in range(7))])
    assert facts is not None
    assert [p.ended for p in facts.past] == [at(60 * i + 65) for i in (6, 5, 4, 3, 2)]
    assert facts.past[0] == PastRollback(at(425), 60.0, 5.0, 1000)
    assert rates_of(TAKEN.status) == SnapshotRates(1000, 40.0, 50, None)
    assert facts.switching == ""


def test_a_snapshot_that_is_gone_or_another_one_has_no_size() -> None:
    facts = read([past("r", 1)], taken=False)
    assert facts is not None
    assert facts.past[0].database_bytes is None
    facts = read([past("r", 1, snapshotId="another")])
    assert facts is not None
    assert facts.past[0].database_bytes is None


@pytest.mark.parametrize(
    ("phase", "busy"),
    [("Restoring", False), ("Pending", False), ("Switching", True), ("Resuming", True), ("SwitchingBack", True)],
)
def test_a_rollback_that_is_switching(phase: str, *, busy: bool) -> None:
    other = obj(
        "Rollback", "back", {"snapshotRef": {"name": "before"}}, {"phase": phase, "environmentName": "shop"}, uid="b"
    )
    facts = read([other])
    assert facts is not None
    assert facts.switching == ("back" if busy else "")


def test_only_a_running_preview_reads_them() -> None:
    assert read([], dry_run=False) is None
    assert read([], stage="Ended") is None


def test_the_newest_test_restore_that_succeeded() -> None:
    facts = read([], restored("old", 1), restored("new", 5), restored("failed", 9, "False"))
    assert facts is not None
    assert facts.tested == MeasuredRestore("new", at(300), 40.0, 1000, 0.0, 0)
    for facts in (read([]), read([], restored("old", 1), gone=True)):
        assert facts is not None
        assert facts.tested is None
