"""The record in the requests of a rollback's Jobs: what an import needs to show the Rollback again."""

from ocore_crds.stored.rollback_record import RECORDED_STATUS, RollbackRun
from ocore_operator.kube import resources
from ocore_operator.rollback.executed import run_of, spec_hash
from support.operator.objects import PROJECT, UID, at, obj

SPEC = {"snapshotRef": {"name": "before"}, "requestedBy": "$(OCORE_POD_UID) $HOME"}
STATUS = {"startedAt": at(1), "environmentId": UID, "snapshotId": UID, "safetySnapshotId": UID, "attempt": 3}


def run() -> RollbackRun:
    return run_of(resources.rollback(obj("Rollback", "back", SPEC, STATUS)), PROJECT)


def test_it_has_what_an_import_needs() -> None:
    found = run()
    assert found.rollback is not None
    assert (found.rollback.project_id, found.rollback.created_at) == (PROJECT, at(0))
    assert found.rollback.spec == SPEC
    assert found.rollback.status == {"startedAt": at(1), "safetySnapshotId": UID}
    assert set(found.rollback.status) <= set(RECORDED_STATUS)
    assert found.spec_hash == spec_hash(resources.rollback(obj("Rollback", "back", SPEC)).spec)


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = {**run().wire(), "rollback": {**run().wire()["rollback"], "more": 1}, "another": 2}
    assert RollbackRun.model_validate(newer) == run()
