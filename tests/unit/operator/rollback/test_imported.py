"""A Rollback that an import has created never starts, whatever is known of it."""

from dataclasses import replace

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.rules.history import finished_of
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.rollback import plan
from ocore_operator.rollback.entry import idle
from ocore_operator.rollback.transitions import change, stamp
from ocore_operator.rollback.world import OperationLock, World
from support.operator.rollback_model import START, Model
from support.operator.rollback_objects import time_at

SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}})
ID = "22223333-0000-4000-8000-000000000003"


def world(*, awaits: bool = True) -> World:
    """Everything that a rollback needs to start."""
    seen = Model().see(0).world
    return replace(seen, finalizer=True, awaits_import=awaits, lock=OperationLock("Ours", "Rollback r1", START))


def test_it_does_not_start_before_its_import_has_written_its_status() -> None:
    seen = world()
    began = (seen.created - START).total_seconds()
    assert plan.decide(RollbackStatus(), SPEC, seen, ID, time_at(began + 10)) == Idle(290.0)
    # The same Rollback without the annotation would begin.
    begun = plan.decide(RollbackStatus(), SPEC, replace(seen, awaits_import=False), ID, time_at(began + 10))
    assert isinstance(begun, Record)
    assert begun.status.stage == "Preflight"


def test_an_import_that_does_not_complete_it_leaves_it_failed() -> None:
    seen = world()
    late = time_at((seen.created - START).total_seconds() + 301)
    action = plan.decide(RollbackStatus(), SPEC, seen, ID, late)
    assert isinstance(action, Record)
    status = action.status
    assert (status.phase, status.stage, status.failure_reason) == ("Failed", "Ended", c.IMPORT_INCOMPLETE)
    assert (status.residue, status.started_at, status.attempt, status.switch_attempt) == ("None", None, 0, 0)


def test_the_annotation_does_not_stop_a_rollback_under_way() -> None:
    """It is set by a person then: a rollback that has begun is finished."""
    status = RollbackStatus(id=ID, stage="Preflight", queued_at=stamp(START), stage_since=stamp(START))
    with_, without = (plan.decide(status, SPEC, world(awaits=on), ID, time_at(10)) for on in (True, False))
    assert with_ == without


@pytest.mark.parametrize("residue", [None, "None"])
def test_the_history_limit_removes_it_as_any_other(residue: str | None) -> None:
    condition = {"type": "Complete", "status": "True", "reason": "Succeeded"}
    status = {"conditions": [condition], "switchedAt": stamp(START), "completedAt": stamp(START), "residue": residue}
    obj = {"metadata": {"name": "r", "creationTimestamp": stamp(START)}, "spec": {}, "status": status}
    found = finished_of(obj)
    assert found is not None
    assert not found.removable
    status["imported"] = {"at": stamp(START)}
    found = finished_of(obj)
    assert found is not None
    assert found.removable


def test_row_79_an_imported_rollback_is_idle_whatever_its_status_says() -> None:
    """A record of an earlier version could bring any field: what it keeps, and the Secrets and claims that a cleanup
    mounts."""
    target = {
        "databaseSecretName": "other",
        "adminSecretName": "root",
        "claimName": "files",
        "path": "",
        "layout": "Odoo",
    }
    status = RollbackStatus.model_validate(
        {
            "id": ID,
            "stage": "Ended",
            "stageSince": stamp(START),
            "residue": "Pending",
            "position": "New",
            "target": target,
            "undoUntil": stamp(START),
            "switchedAt": stamp(START),
            "liveDatabase": "shop",
            "phase": "Complete",
            "imported": {"at": stamp(START), "storeName": "store", "name": "r", "specHash": "x"},
        }
    )
    seen = replace(world(awaits=False), finalizer=False)
    assert plan.decide(status, SPEC, seen, ID, time_at(10_000)) == Idle()
    own = plan.decide(change(status, imported=None), SPEC, seen, ID, time_at(10_000))
    assert own != Idle()
    assert idle({"metadata": {"name": "r"}, "spec": {}, "status": status.wire()})
    assert not idle({"metadata": {"name": "r"}, "spec": {}, "status": change(status, imported=None).wire()})
