"""The option --record of a rollback's Jobs: what an import needs to show the Rollback again."""

import json

import pytest

from ocore_crds.rollback_record import RECORDED_STATUS, RollbackRun
from ocore_crds.snapshot_state import StoredState
from ocore_operator.jobs import build
from ocore_operator.kube import resources
from ocore_operator.rollback.executed import run_of, spec_hash
from support.operator.objects import PROJECT, UID, at, obj

SPEC = {"snapshotRef": {"name": "before"}, "requestedBy": "$(OCORE_POD_UID) $HOME"}
STATUS = {"startedAt": at(1), "environmentId": UID, "snapshotId": UID, "safetySnapshotId": UID, "attempt": 3}


def run() -> RollbackRun:
    return run_of(resources.rollback(obj("Rollback", "back", SPEC, STATUS)), PROJECT)


def option() -> str:
    name, value = build._record(run()).args
    assert name == "--record"
    return str(value)


def test_what_users_wrote_is_not_expanded() -> None:
    assert option().count("$") == 1
    data = json.loads(option().replace("$(OCORE_POD_UID)", "pod"))
    assert data["attempt"] == "pod"
    assert data["rollback"]["spec"]["requestedBy"] == "$(OCORE_POD_UID) $HOME"


def test_it_has_what_an_import_needs() -> None:
    found = run()
    assert RollbackRun.model_validate_json(option().replace("$(OCORE_POD_UID)", "0")) == found
    assert found.rollback is not None
    assert (found.rollback.project_id, found.rollback.created_at) == (PROJECT, at(0))
    assert found.rollback.spec == SPEC
    assert found.rollback.status == {"startedAt": at(1), "safetySnapshotId": UID}
    assert set(found.rollback.status) <= set(RECORDED_STATUS)
    assert found.spec_hash == spec_hash(resources.rollback(obj("Rollback", "back", SPEC)).spec)


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = {**run().wire(), "rollback": {**run().wire()["rollback"], "more": 1}, "another": 2}
    assert RollbackRun.model_validate(newer) == run()


@pytest.mark.parametrize("label", ["$$", "a$$b", "$(HOME)", "$(OCORE_POD_UID)", "$", "grüße \U0001f600"])
def test_row_82_a_label_reaches_the_job_as_it_was_written(label: str) -> None:
    """Else the store had another label than the one that is wanted, and the Job was repeated without end."""
    argument = build._json(StoredState(pin_label=label).wire())
    assert "$" not in argument
    assert StoredState.model_validate_json(argument).pin_label == label
