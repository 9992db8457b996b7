"""What an import makes of a rollback's record, field by field. Pure; test_importing_rollbacks.py runs the Jobs."""

from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import Failure, Step
from ocore_crds.reports.store_listing import StoredRollback
from ocore_crds.resources.preview import NEVER
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.rules.history import Finished
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import RecordedRollback, RollbackRun
from ocore_operator import clock
from ocore_operator.imports import rollbacks
from ocore_operator.imports.rollbacks import OLD_RECORD, Siblings
from ocore_operator.imports.rules import Place
from ocore_operator.kube import resources
from ocore_operator.rollback import entry as rollback_entry
from ocore_operator.rollback.executed import spec_hash
from support.operator.objects import PROJECT, at, moment, obj, store

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
SNAPSHOT = "44444444-4444-4444-8444-444444444444"
SHOP = Place("shop", PROJECT)
NO_SIBLINGS = Siblings({}, {}, {})
NOW = moment(1000)
SPEC: dict[str, Any] = {"snapshotRef": {"name": "monday"}, "requestedBy": "ada"}


def rollback_id(number: int) -> str:
    return f"{number:08d}-5555-4555-8555-555555555555"


def entry(
    number: int = 1,
    outcome: Any = "Switched",
    *,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    project: str = PROJECT,
    old: bool = False,
    undoes: int | None = None,
    ended: float = 300,
    **changes: Any,
) -> StoredRollback:
    """A record: begun 200 s before its end, switched 100 s before it."""
    wanted = {**SPEC, **(spec or {})}
    run = RollbackRun(
        name=f"r{number}",
        spec_hash=spec_hash(RollbackSpec.model_validate(wanted)),
        uid=rollback_id(100 + number),
        rollback_id=rollback_id(number),
        environment_id=ENVIRONMENT,
        undoes=None if undoes is None else rollback_id(undoes),
        snapshot_id=SNAPSHOT,
        attempt="a1",
        rollback=None
        if old
        else RecordedRollback(project_id=project, created_at=at(0), spec=wanted, status=status or {}),
    )
    made = StoredRollback(
        outcome=outcome,
        run=run,
        began_at=at(ended - 200),
        switched_at=None if outcome == "NotSwitched" else at(ended - 100),
        ended_at=at(ended),
        evidence=Evidence(required=("database",), proven=("database",)),
    )
    return made.model_copy(update=changes)


def made(found: StoredRollback, known: Siblings = NO_SIBLINGS) -> RollbackStatus:
    body = rollbacks.body(store(), found, SHOP, "r1", known, NOW)
    rollback = resources.rollback(obj("Rollback", "r1", body["spec"]))
    return rollbacks.status(rollback, store(), found, SHOP, known, NOW)


def condition(found: RollbackStatus, type_: str) -> tuple[str, str, str]:
    each = next(x for x in found.conditions if x.type == type_)
    return each.status, each.reason, each.message


# --- siblings, what belongs here --------------------------------------------------------------------------------------


def test_each_undo_has_undone_the_one_before() -> None:
    first, second = entry(1, ended=300), entry(2, ended=500, undoes=1)
    third = entry(3, ended=700, undoes=1)
    found = rollbacks.siblings([third, first, second], {SNAPSHOT: "monday"})
    assert found.undone_by == {rollback_id(1): "r2", rollback_id(2): "r3"}
    assert found.names == {rollback_id(n): f"r{n}" for n in (1, 2, 3)}
    assert found.snapshots == {SNAPSHOT: "monday"}


@pytest.mark.parametrize("outcome", ["SwitchedBack", "NotSwitched"])
def test_only_what_stayed_switched_has_undone_anything(outcome: str) -> None:
    assert rollbacks.siblings([entry(1), entry(2, outcome, ended=500, undoes=1)], {}).undone_by == {}


def test_another_rollback_undoes_nothing() -> None:
    assert rollbacks.siblings([entry(1), entry(2, ended=500)], {}).undone_by == {}
    assert rollbacks.siblings([entry(1), entry(2, ended=500, undoes=3)], {}).undone_by == {}


def test_the_time_of_the_switch_decides_and_else_that_of_the_end() -> None:
    first = entry(1, ended=900, switched_at=at(100))
    second = entry(2, ended=500, undoes=1, switched_at=at(200))
    third = entry(3, ended=300, undoes=1, switched_at=None)
    found = rollbacks.siblings([first, second, third], {})
    assert found.undone_by == {rollback_id(1): "r2", rollback_id(2): "r3"}


@pytest.mark.parametrize(
    ("record", "places", "belongs"),
    [
        (entry(), {ENVIRONMENT: SHOP}, True),
        (entry(), {OTHER: SHOP}, False),
        (entry(), {ENVIRONMENT: Place("shop", OTHER)}, False),
        (entry(project=""), {ENVIRONMENT: Place("shop", OTHER)}, True),
        (entry(old=True), {ENVIRONMENT: SHOP}, True),
        (entry(old=True), {OTHER: SHOP}, False),
    ],
)
def test_a_record_belongs_to_the_environment_of_its_id_and_project(
    record: StoredRollback, places: dict[str, Place], *, belongs: bool
) -> None:
    assert rollbacks.belongs(record, places) == (next(iter(places.values())) if belongs else None)


def test_what_the_history_limit_would_remove_is_left_out() -> None:
    existing = [Finished(name="there", time=at(400), switched=False, removable=True)]
    entries = [entry(1, ended=300), entry(2, ended=500), entry(3, "NotSwitched", ended=600)]
    assert rollbacks.beyond(entries, existing, 2, NOW) == {rollback_id(1)}
    assert rollbacks.beyond(entries, existing, 1, NOW) == {rollback_id(1)}, "the environment runs on the second one"
    assert rollbacks.beyond(entries, existing, 0, NOW) == set()


# --- the object -------------------------------------------------------------------------------------------------------


def test_the_recorded_spec_is_the_one_that_ran() -> None:
    assert rollbacks.recorded_spec(entry()) == RollbackSpec.model_validate(SPEC)
    assert rollbacks.recorded_spec(entry(old=True)) is None
    assert rollbacks.recorded_spec(entry(spec={"dryRun": True})) is None
    whole = entry()
    assert whole.run.rollback is not None
    for spec in ({**SPEC, "requestedBy": "mallory"}, {"undoWindowSeconds": "none"}):
        changed = whole.run.rollback.model_copy(update={"spec": spec})
        run = whole.run.model_copy(update={"rollback": changed})
        assert rollbacks.recorded_spec(whole.model_copy(update={"run": run})) is None


@pytest.mark.parametrize("hash_", ["0" * 64, "f" * 64])
def test_a_spec_that_its_record_has_another_hash_of_is_not_restored(hash_: str) -> None:
    """Someone has changed it in the store. The object gets the least spec instead."""
    whole = entry()
    other = whole.model_copy(update={"run": whole.run.model_copy(update={"spec_hash": hash_})})
    assert rollbacks.recorded_spec(other) is None
    assert "requestedBy" not in rollbacks.body(store(), other, SHOP, "any", NO_SIBLINGS, NOW)["spec"]


@pytest.mark.parametrize(
    ("record", "own"),
    [
        (entry(), True),
        (entry(spec={"targetEnvironmentRef": {"name": "shop"}}), True),
        (entry(spec={"targetEnvironmentRef": {"name": "renamed"}}), False),
        (entry(spec={"targetEnvironmentRef": {"name": "shop-2"}}), False),
        (entry(spec={"notAfter": at(999)}), True),
        (entry(spec={"notAfter": at(1000)}), False),
        (entry(spec={"notAfter": at(1001)}), False),
        (entry(old=True), False),
    ],
)
def test_its_own_name_comes_only_with_its_own_spec(record: StoredRollback, *, own: bool) -> None:
    other = f"imported-{rollback_id(1)}"
    assert rollbacks.names(record, SHOP, NOW) == (("r1", other) if own else (other,))


@pytest.mark.parametrize(
    ("record", "spec"),
    [
        (entry(), {**SPEC, "notAfter": NEVER}),
        (entry(spec={"notAfter": at(999)}), {**SPEC, "notAfter": at(999)}),
        (entry(spec={"notAfter": at(1000)}), {**SPEC, "notAfter": NEVER}),
        (entry(spec={"notAfter": at(1001)}), {**SPEC, "notAfter": NEVER}),
        (
            entry(spec={"targetEnvironmentRef": {"name": "renamed"}}),
            {**SPEC, "notAfter": NEVER, "targetEnvironmentRef": {"name": "shop"}},
        ),
        (
            entry(old=True),
            {"notAfter": NEVER, "snapshotRef": {"name": "tuesday"}, "targetEnvironmentRef": {"name": "shop"}},
        ),
        (entry(old=True, undoes=2), {"notAfter": NEVER, "undo": {"rollbackRef": {"name": "second"}}}),
        (
            entry(old=True, undoes=3),
            {"notAfter": NEVER, "undo": {"rollbackRef": {"name": f"imported-{rollback_id(3)}"}}},
        ),
    ],
)
def test_the_spec_never_lets_it_run(record: StoredRollback, spec: dict[str, Any]) -> None:
    known = Siblings({rollback_id(2): "second"}, {}, {SNAPSHOT: "tuesday"})
    body = rollbacks.body(store(), record, SHOP, "any", known, NOW)
    assert body["spec"] == {**spec, "id": rollback_id(1)}
    assert body["metadata"]["annotations"] == {naming.ANNOTATION_IMPORT: store().meta.uid}
    assert (body["metadata"]["name"], body["metadata"]["namespace"]) == ("any", "shop")


def test_an_unknown_snapshot_gets_the_name_that_its_import_would_have() -> None:
    body = rollbacks.body(store(), entry(old=True), SHOP, "any", NO_SIBLINGS, NOW)
    assert body["spec"]["snapshotRef"] == {"name": f"imported-{SNAPSHOT}"}


@pytest.mark.parametrize(
    ("annotations", "status", "half"),
    [
        ({naming.ANNOTATION_IMPORT: "x"}, None, True),
        ({naming.ANNOTATION_IMPORT: "x"}, {"stage": "Ended"}, True),
        ({naming.ANNOTATION_IMPORT: "x"}, {"imported": {"at": at(0)}}, False),
        ({}, None, False),
        (None, {"stage": "Ended"}, False),
    ],
)
def test_half_is_what_an_import_has_created_and_not_completed(annotations: Any, status: Any, *, half: bool) -> None:
    assert rollback_entry.is_half({"metadata": {"annotations": annotations}, "status": status}) is half


# --- the status -------------------------------------------------------------------------------------------------------


def test_the_status_has_what_the_record_has() -> None:
    found = made(entry(status={"startedAt": at(50), "snapshotName": "monday"}))
    assert (found.stage, found.stage_since, found.completed_at) == ("Ended", at(300), at(300))
    assert (found.id, found.environment_id, found.environment_name) == (rollback_id(1), ENVIRONMENT, "shop")
    assert (found.snapshot_id, found.snapshot_name, found.manifest_sha256) == (SNAPSHOT, "monday", None)
    assert (found.started_at, found.switched_at, found.residue) == (at(50), at(200), None)
    assert found.evidence is not None
    assert found.evidence.proven == ("database",)
    assert found.imported is not None
    assert (found.imported.name, found.imported.store_name, found.imported.at) == ("r1", "store", at(1000))


def test_what_is_not_recorded_comes_from_elsewhere() -> None:
    record = entry(evidence=None, status={"snapshotName": "monday"})
    named = record.model_copy(update={"run": record.run.model_copy(update={"manifest_sha256": "f" * 64})})
    found = made(named, Siblings({}, {}, {SNAPSHOT: "tuesday"}))
    assert (found.started_at, found.snapshot_name, found.manifest_sha256) == (at(100), "tuesday", "f" * 64)
    assert found.evidence is None


def test_no_other_field_of_a_record_is_believed() -> None:
    target = {"databaseSecretName": "theirs", "adminSecretName": "admin", "claimName": "files", "path": "x"}
    found = made(entry(status={"residue": "Pending", "target": target, "undoUntil": at(9), "liveDatabase": "shop"}))
    assert (found.residue, found.target, found.undo_until, found.live_database) == (None, None, None, "shop")


def test_what_was_undone_says_by_which_one() -> None:
    found = made(entry(), Siblings({}, {rollback_id(1): "r2"}, {}))
    assert (found.phase, found.position, found.undone_by, found.residue) == ("SwitchedBack", "Old", "r2", None)
    assert "It ends with the switch" in condition(found, c.IMPORTED)[2]
    alone = made(entry(), Siblings({}, {rollback_id(2): "r3"}, {}))
    assert (alone.phase, alone.position, alone.undone_by) == ("Complete", "New", None)


def test_an_undo_names_what_its_record_says_that_it_undid() -> None:
    recorded = {"rollbackName": "then", "rollbackId": rollback_id(2), "namesId": rollback_id(2), "to": "New"}
    undo = made(entry(undoes=2, status={"undo": recorded}), Siblings({rollback_id(2): "second"}, {}, {})).undo
    assert undo is not None
    assert (undo.rollback_name, undo.to) == ("then", "New")


def test_an_undo_of_an_earlier_version_names_what_it_undid() -> None:
    undo = made(entry(old=True, undoes=2), Siblings({rollback_id(2): "second"}, {}, {})).undo
    assert undo is not None
    assert (undo.rollback_name, undo.rollback_id, undo.names_id) == ("second", rollback_id(2), rollback_id(2))
    unknown = made(entry(old=True, undoes=2)).undo
    assert unknown is not None
    assert unknown.rollback_name == f"imported-{rollback_id(2)}"
    assert made(entry(old=True)).undo is None


STEPS = {"steps": [{"name": "Preflight", "state": "Done"}]}


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        (entry(status=STEPS), ()),
        (entry(status={}), OLD_RECORD[-3:]),
        (entry(status={**STEPS, "startedAt": 7}), OLD_RECORD[-3:]),
        (entry(old=True), OLD_RECORD),
        (entry(status=STEPS, spec={"dryRun": True}), OLD_RECORD[:2]),
        (entry(status=STEPS, evidence=None), ("what the restore had proven",)),
        (entry(status=STEPS, evidence=None, undoes=2), ()),
        (entry(1, "NotSwitched", status=STEPS), ("why it failed",)),
        (entry(1, "SwitchedBack", status=STEPS), ("why it failed",)),
        (entry(1, "SwitchedBack", status={**STEPS, "failureMessage": "No."}), ()),
        (entry(1, "NotSwitched", status=STEPS, failure=Failure(reason="X", message="No.")), ()),
    ],
)
def test_it_says_what_its_record_lacks(record: StoredRollback, missing: tuple[str, ...]) -> None:
    found = made(record)
    assert found.imported is not None
    assert set(found.imported.missing) == set(missing)
    state, reason, message = condition(found, c.IMPORTED)
    assert (state, reason) == (("False", c.IMPORT_INCOMPLETE) if missing else ("True", c.SUCCEEDED))
    assert message.startswith("Imported from its record in the store.")
    assert ("It ends with the switch" in message) is (found.phase != "Failed")
    assert ("lacks: " in message) is bool(missing)


BEFORE = {"steps": [{"name": s, "state": "Pending"} for s in ("Quiesce", "Switch", "Resume", "HealthCheck")]}
BEFORE["steps"] += [{"name": "Restore", "state": "Done"}, {"name": "SwitchBack", "state": "Running"}]


def states(found: RollbackStatus) -> dict[str, str]:
    return {each.name: each.state for each in found.steps}


def test_one_that_switched_is_complete_up_to_the_switch() -> None:
    found = made(entry(status={**BEFORE, "failureReason": "X", "failureMessage": "No."}))
    assert (found.phase, found.position, found.failure_reason, found.failure_message) == ("Complete", "New", None, None)
    done = {"Quiesce": "Done", "Switch": "Done", "Restore": "Done", "SwitchBack": "Running"}
    assert states(found) == {**done, "Resume": "Pending", "HealthCheck": "Pending"}
    times = {each.completed_at for each in found.steps if each.name in (Step.QUIESCE, Step.SWITCH)}
    assert {clock.parse(time or "") for time in times} == {moment(200)}


def test_one_that_was_stopped_before_the_switch_says_why() -> None:
    failure = Failure(reason="SessionsRemain", message="a session stayed")
    recorded = {**BEFORE, "failureReason": "X", "failureMessage": "Recorded."}
    found = made(entry(1, "NotSwitched", status=recorded, failure=failure))
    assert (found.phase, found.position, found.failure_reason) == ("Failed", "Old", "SessionsRemain")
    assert found.failure_message == (
        "The rollback was stopped before the switch. a session stayed. The environment stayed as it was."
    )
    assert set(states(found).values()) == {"Skipped", "Done"}
    known = made(entry(1, "NotSwitched", status=recorded))
    assert (known.failure_reason, "Recorded." in (known.failure_message or "")) == ("X", True)
    unknown = made(entry(1, "NotSwitched"))
    assert unknown.failure_reason == c.SWITCH_FAILED
    assert "Why is not in its record." in (unknown.failure_message or "")


def test_one_that_was_switched_back_says_why() -> None:
    found = made(entry(1, "SwitchedBack", status={**BEFORE, "failureMessage": "Not ready."}))
    assert (found.phase, found.position, found.failure_reason) == ("Failed", "Old", c.SWITCHED_BACK)
    assert found.switched_back_at == at(300)
    assert found.failure_message == ("Not ready. The environment was switched back and runs on what it ran on before.")
    assert states(found) == {
        **dict.fromkeys(("Quiesce", "Switch", "Restore", "SwitchBack"), "Done"),
        **dict.fromkeys(("Resume", "HealthCheck"), "Skipped"),
    }
    unknown = made(entry(1, "SwitchedBack"))
    assert "Why it was switched back is not in its record." in (unknown.failure_message or "")
