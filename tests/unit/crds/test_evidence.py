"""recoveryEvidence: green only where everything is proven, and what it says of every combination that matters."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocore_crds import conditions as c
from ocore_crds.protocol import ROLLBACK_STEPS, Step
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.rules import evidence as e
from ocore_crds.schema.from_models import structural

AT = "2026-03-01T12:00:00Z"
UID = "11111111-2222-4333-8444-555555555555"
SHA = "ab" * 32
#: Bytes of the evidence as it is stored: of an ordinary operation, and whatever was recorded.
USUAL_BYTES = 3 * 1024
MOST_BYTES = 12 * 1024


def condition(type_: str, status: str = "True", reason: str = "Succeeded", message: str = "") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": AT}


COMPLETE = (condition(c.COMPLETE), condition(c.READY))
CORRUPT = (
    condition(c.COMPLETE),
    condition(c.READY, "False", c.CORRUPT),
    condition(c.STALLED, reason=c.CORRUPT, message="3 bytes differ."),
    condition(c.VERIFIED, "False", c.CORRUPT),
)
DELETING = (condition(c.COMPLETE), condition(c.READY, "False", c.DELETING), condition(c.RECONCILING, reason=c.DELETING))
RUNNING = (
    condition(c.RECONCILING, reason=c.RUNNING, message="Attempt 1 runs."),
    condition(c.READY, "False", c.RUNNING),
)


def failed(reason: str = c.DUMP_FAILED, message: str = "disk full") -> tuple[dict[str, Any], ...]:
    return tuple(condition(t, reason=reason, message=message) for t in (c.FAILED, c.STALLED))


def states(**by_step: str) -> list[dict[str, str]]:
    return [{"name": name, "state": state} for name, state in by_step.items()]


STEPS = {
    "Prepare": "Done",
    "DumpDatabase": "Done",
    "CopyFilestore": "Done",
    "CaptureConfig": "Done",
    "Publish": "Done",
    "Verify": "Done",
}
SNAPSHOT: dict[str, Any] = {
    "phase": "Complete",
    "conditions": (*COMPLETE, condition(c.VERIFIED, "Unknown", c.CHECKSUMS_ONLY)),
    "parts": ["Database", "Filestore", "Config"],
    "steps": states(**STEPS),
    "consistentAt": AT,
    "storeId": UID,
    "manifestKey": f"environments/{UID}/snapshots/{UID}/manifest.json",
    "manifestSha256": SHA,
    "serverVersion": "17.4",
    "sizes": {
        "databaseBytes": 8_000_000,
        "databaseStoredBytes": 1_000_000,
        "filestoreBytes": 20_000_000,
        "filestoreFiles": 1228,
        "filestoreStoredBytes": 12_000_000,
        "storedBytes": 13_000_000,
    },
    "evidence": {
        "required": ["database", "filestore", "configuration"],
        "proven": ["database dump: 20 files", "filestore: 1228 files", "configuration: 2 keys"],
        "checksums": dict.fromkeys(("manifest", "database", "filestore", "config"), SHA),
        "paths": {
            name: f"environments/{UID}/snapshots/{UID}/1-x/{name}/"
            for name in ("manifest", "database", "filestore", "config")
        },
    },
}
ROLLED = {step.value: "Done" for step in ROLLBACK_STEPS} | {"Cleanup": "Pending"}
ROLLBACK: dict[str, Any] = {
    "phase": "Complete",
    "conditions": COMPLETE,
    "steps": states(**ROLLED),
    "target": {"databaseSecretName": "db", "claimName": "files", "path": "filestore/shop", "layout": "Odoo"},
    "environmentName": "shop",
    "snapshotName": "before",
    "snapshotId": UID,
    "manifestSha256": SHA,
    "liveDatabase": "shop",
    "restoredDatabase": "shop_rb_11111111",
    "previousDatabase": "shop_prev_11111111",
    "position": "New",
    "switchedAt": AT,
    "readyAt": AT,
    "undoUntil": AT,
    "residue": "Pending",
    "recorded": True,
    "evidence": {"proven": ["dump: 20 files", "attachments: all 1228 files"]},
    "neutralize": {"required": True, "ownIdentity": True, "method": "Sql", "provenAt": AT},
}


def without(whole: Mapping[str, Any], *names: str, **changes: Any) -> dict[str, Any]:
    return {k: v for k, v in whole.items() if k not in names} | changes


def inside(whole: Mapping[str, Any], field: str, name: str) -> dict[str, Any]:
    """Without one key of a field that is an object; `name` may be `checksums.database`."""
    head, _, rest = name.partition(".")
    part = whole[field]
    return {**whole, field: inside(part, head, rest) if rest else without(part, head)}


def of_snapshot(status: Mapping[str, Any], **spec: Any) -> RecoveryEvidence:
    parsed = SnapshotSpec.model_validate({"environmentRef": {"name": "shop"}, **spec})
    return e.of_snapshot(parsed, SnapshotStatus.model_validate(dict(status)))


def of_rollback(status: Mapping[str, Any], **spec: Any) -> RecoveryEvidence:
    parsed = RollbackSpec.model_validate(spec or {"snapshotRef": {"name": "s1"}})
    return e.of_rollback(parsed, RollbackStatus.model_validate(dict(status)))


def consistent(found: RecoveryEvidence) -> None:
    """What holds of every evidence."""
    clean = found.can_write_clean_success
    assert clean == (not (found.missing_steps or found.blocking_steps or found.missing_evidence))
    assert bool(found.why_green) == clean
    assert bool(found.why_not_green) == (not clean)
    assert all((*found.why_green, *found.why_not_green))
    required = set(found.required_steps)
    blocking = required & set(found.blocking_steps)
    assert blocking.isdisjoint(found.missing_steps)
    assert set(found.missing_steps) <= required
    done = required - blocking - set(found.missing_steps)
    assert (found.progress.done, found.progress.required) == (len(done), len(found.required_steps))
    assert all(found.progress.steps[name] == "Done" for name in done)
    assert required.isdisjoint(found.optional_failed_steps)
    assert set(found.blocking_steps).isdisjoint(found.optional_failed_steps)
    for name in (*found.missing_steps, *found.blocking_steps):
        assert any(f"Step {name} " in line for line in found.why_not_green)
    for fact in found.missing_evidence:
        assert f"Not recorded: {fact}." in found.why_not_green
    assert not clean or found.status == "completed"
    assert RecoveryEvidence.model_validate(found.wire()) == found
    assert len(json.dumps(found.wire()).encode()) <= MOST_BYTES


# --- the rule itself --------------------------------------------------------------------------------------------------


def recorded(**changes: Any) -> e.Recorded:
    """A clean success with two required steps and one fact."""
    base: dict[str, Any] = {
        "operation": "snapshot",
        "status": "completed",
        "reason": "Succeeded",
        "problem": "",
        "steps": {"A": "Done", "B": "Done"},
        "required": ("A", "B"),
        "proofs": (e.Proof("It has a checksum.", {"a: checksum": True, "a: path": True}),),
    }
    return e.Recorded(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "missing", "blocking", "optional", "unproven"),
    [
        ({}, (), (), (), ()),
        ({"problem": "Of a status that is not terminal."}, (), (), (), ()),
        ({"steps": {"A": "Done"}}, ("B",), (), (), ()),
        ({"steps": {}}, ("A", "B"), (), (), ()),
        ({"steps": {"A": "Done", "B": "Running"}}, ("B",), (), (), ()),
        ({"steps": {"A": "Done", "B": "Pending"}}, ("B",), (), (), ()),
        ({"steps": {"A": "Done", "B": "Skipped"}}, ("B",), (), (), ()),
        ({"steps": {"A": "Done", "B": "Failed"}}, (), ("B",), (), ()),
        ({"steps": {"A": "Running", "B": "Failed"}}, ("A",), ("B",), (), ()),
        # A step that is not required prevents nothing, whatever became of it.
        ({"steps": {"A": "Done", "B": "Done", "C": "Failed"}}, (), (), ("C",), ()),
        ({"steps": {"A": "Done", "B": "Done", "C": "Running"}}, (), (), (), ()),
        ({"steps": {"A": "Done", "B": "Done", "C": "Pending"}}, (), (), (), ()),
        ({"failed": ("C",)}, (), (), ("C",), ()),
        # One that blocks does so also where it has succeeded, and where it is required.
        ({"steps": {"A": "Done", "B": "Done", "C": "Done"}, "blocking": ("C",)}, (), ("C",), (), ()),
        ({"steps": {"A": "Done", "B": "Done", "C": "Failed"}, "blocking": ("C",)}, (), ("C",), (), ()),
        ({"blocking": ("B",)}, (), ("B",), (), ()),
        ({"proofs": (e.Proof("p", {"a: checksum": True, "a: path": False}),)}, (), (), (), ("a: path",)),
        ({"proofs": ()}, (), (), (), ()),
        ({"status": "running"}, (), (), (), ("outcome: Complete",)),
        ({"status": "pending"}, (), (), (), ("outcome: Complete",)),
        ({"status": "failed"}, (), (), (), ("outcome: Complete",)),
    ],
)
def test_the_rule(
    changes: dict[str, Any],
    missing: tuple[str, ...],
    blocking: tuple[str, ...],
    optional: tuple[str, ...],
    unproven: tuple[str, ...],
) -> None:
    found = e.derive(recorded(**changes))
    consistent(found)
    assert (found.missing_steps, found.blocking_steps) == (missing, blocking)
    assert (found.optional_failed_steps, found.missing_evidence) == (optional, unproven)
    assert found.can_write_clean_success == (not (missing or blocking or unproven))
    assert (found.remote_copy_state, found.required_steps) == ("none", ("A", "B"))


def test_what_it_says() -> None:
    green = e.derive(recorded())
    assert green.why_green == ("All 2 required steps are done.", "The operation is Complete.", "It has a checksum.")
    bad = e.derive(
        recorded(
            status="failed",
            problem="DumpFailed: disk full.",
            steps={"A": "Failed"},
            blocking=("C",),
            proofs=(e.Proof("p", {"a: path": False}),),
        )
    )
    assert bad.why_not_green == (
        "DumpFailed: disk full.",
        "Step A failed.",
        "Step C prevents a clean success.",
        "Step B is not done (Pending).",
        "Not recorded: outcome: Complete.",
        "Not recorded: a: path.",
    )


@pytest.mark.parametrize(
    ("steps", "current"),
    [
        ({}, ""),
        ({"A": "Pending"}, ""),
        ({"A": "Done", "B": "Running"}, "B"),
        ({"A": "Running", "B": "Running"}, "A"),
        ({"A": "Done", "B": "Failed", "C": "Skipped"}, "B"),
        ({"A": "Done", "B": "Done"}, "B"),
    ],
)
def test_progress_names_the_running_step_else_the_last_one(steps: dict[str, str], current: str) -> None:
    assert e.derive(recorded(steps=steps, required=tuple(steps))).progress.step == current


# --- a Snapshot ------------------------------------------------------------------------------------------------------


def test_a_complete_snapshot_is_green() -> None:
    found = of_snapshot(SNAPSHOT)
    consistent(found)
    assert found.can_write_clean_success
    assert (found.operation, found.status, found.reason) == ("snapshot", "completed", "Succeeded")
    assert found.required_steps == ("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish")
    assert (found.progress.done, found.progress.required, found.progress.step) == (5, 5, "Verify")
    assert found.artifact_checksums == SNAPSHOT["evidence"]["checksums"]
    assert found.artifact_paths == SNAPSHOT["evidence"]["paths"]
    assert "filestore: 1228 files of 19.1 MiB, 11.4 MiB stored; SHA-256 and path are recorded." in found.why_green
    assert any("were not read back" in line for line in found.why_green)
    assert len(json.dumps(found.wire()).encode()) <= USUAL_BYTES


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (without(SNAPSHOT, "manifestSha256"), ("manifest: SHA-256",)),
        (without(SNAPSHOT, manifestSha256="cd" * 32), ("manifest: SHA-256",)),
        (inside(SNAPSHOT, "evidence", "checksums.manifest"), ("manifest: SHA-256",)),
        (without(SNAPSHOT, "storeId"), ("store: id",)),
        (without(SNAPSHOT, "consistentAt"), ("snapshot: point in time",)),
        (inside(SNAPSHOT, "evidence", "paths.database"), ("database: path",)),
        (inside(SNAPSHOT, "evidence", "paths.filestore"), ("filestore: path",)),
        (inside(SNAPSHOT, "evidence", "paths.config"), ("config: path",)),
        (inside(SNAPSHOT, "sizes", "databaseBytes"), ("database: size",)),
        (inside(SNAPSHOT, "sizes", "databaseStoredBytes"), ("database: size",)),
        (inside(SNAPSHOT, "sizes", "filestoreStoredBytes"), ("filestore: number and size of files",)),
        (without(SNAPSHOT, "sizes"), ("database: size", "filestore: number and size of files")),
        (without(SNAPSHOT, "serverVersion"), ("database: server version",)),
        (inside(SNAPSHOT, "evidence", "proven"), ("report: what was proven",)),
        (without(SNAPSHOT, conditions=DELETING), ("outcome: Ready",)),
        (without(SNAPSHOT, conditions=COMPLETE[:1]), ("outcome: Ready",)),
        (
            {**SNAPSHOT, "evidence": {**SNAPSHOT["evidence"], "missing": ["ab/abcd", "ef/ef01", "aa/aaaa", "bb/bbbb"]}},
            ("filestore: lost files that the database names (4 listed, for example ab/abcd, ef/ef01, aa/aaaa)",),
        ),
    ],
    ids=str,
)
def test_each_fact_of_a_snapshot_is_needed(status: dict[str, Any], missing: tuple[str, ...]) -> None:
    found = of_snapshot(status)
    consistent(found)
    assert (found.missing_evidence, found.missing_steps, found.blocking_steps) == (missing, (), ())
    assert not found.can_write_clean_success


@pytest.mark.parametrize(
    ("part", "artifact", "step"),
    [
        ("Database", "database", "DumpDatabase"),
        ("Filestore", "filestore", "CopyFilestore"),
        ("Config", "config", "CaptureConfig"),
    ],
)
def test_a_part_without_its_checksum_is_not_stored(part: str, artifact: str, step: str) -> None:
    """The Environment lost the part between the start and the Job: the Snapshot is Complete, and the part is
    missing."""
    stored = inside(inside(SNAPSHOT, "evidence", f"checksums.{artifact}"), "evidence", f"paths.{artifact}")
    stored["steps"] = states(**without(STEPS, step))
    found = of_snapshot(stored)
    consistent(found)
    assert found.missing_steps == (step,)
    assert {f"{artifact}: SHA-256", f"{artifact}: path"} <= set(found.missing_evidence)
    # An Environment that never had it does not miss it.
    without_it = {**stored, "parts": [p for p in SNAPSHOT["parts"] if p != part]}
    assert of_snapshot(without_it).can_write_clean_success
    assert step not in of_snapshot(without_it).required_steps
    # Neither does one of an operator that did not record the parts.
    assert of_snapshot(without(stored, "parts")).can_write_clean_success


@pytest.mark.parametrize("reported", [{}, {"Prepare": "Done"}, {**STEPS, "CaptureConfig": "Running"}], ids=str)
def test_a_manifest_proves_the_steps_that_the_log_has_lost(reported: dict[str, str]) -> None:
    found = of_snapshot({**SNAPSHOT, "steps": states(**reported)})
    consistent(found)
    assert found.can_write_clean_success
    assert found.progress.done == 5


@pytest.mark.parametrize(
    ("verified", "own", "missing", "blocking", "green"),
    [
        (None, "Done", ("Verify",), (), False),
        (condition(c.VERIFIED, "Unknown", c.CHECKSUMS_ONLY), "Done", ("Verify",), (), False),
        (condition(c.VERIFIED, "Unknown", c.VERIFYING), "Done", ("Verify",), (), False),
        (condition(c.VERIFIED, "Unknown", c.STORE_UNREACHABLE), "Done", ("Verify",), (), False),
        (condition(c.VERIFIED, "Unknown", c.CHECKSUMS_ONLY), "Failed", (), ("Verify",), False),
        (condition(c.VERIFIED, "True"), "Done", (), (), True),
        (condition(c.VERIFIED, "False", c.CORRUPT), "Done", (), ("Verify",), False),
    ],
)
def test_reading_back_is_required_where_it_was_asked_for(
    verified: dict[str, Any] | None, own: str, missing: tuple[str, ...], blocking: tuple[str, ...], green: bool
) -> None:
    """The Job's own step Verify is Done also where nothing was read back: only the condition Verified proves it."""
    status = {
        **SNAPSHOT,
        "steps": states(**{**STEPS, "Verify": own}),
        "conditions": (*COMPLETE, *filter(None, (verified,))),
    }
    found = of_snapshot(status, verify="Full")
    consistent(found)
    assert found.required_steps[-1] == "Verify"
    assert (found.missing_steps, found.blocking_steps) == (missing, blocking)
    assert found.can_write_clean_success == green
    assert any("Every byte was read back" in line for line in found.why_green) == green


def test_a_verification_that_was_not_asked_for_may_fail() -> None:
    found = of_snapshot({**SNAPSHOT, "steps": states(**{**STEPS, "Verify": "Failed"})})
    consistent(found)
    assert found.optional_failed_steps == ("Verify",)
    assert found.can_write_clean_success


@pytest.mark.parametrize("verify", ["Checksums", "Full"])
def test_a_corrupt_snapshot_is_never_green(verify: str) -> None:
    found = of_snapshot({**SNAPSHOT, "phase": "Corrupt", "conditions": CORRUPT}, verify=verify)
    consistent(found)
    assert (found.status, found.reason, found.blocking_steps) == ("failed", c.CORRUPT, ("Verify",))
    assert found.why_not_green[0] == "Corrupt: 3 bytes differ."


def test_leftovers_that_stay_are_an_optional_failure() -> None:
    found = of_snapshot({**SNAPSHOT, "residue": "Unknown"})
    assert (found.optional_failed_steps, found.can_write_clean_success) == (("Cleanup",), True)
    assert of_snapshot({**SNAPSHOT, "residue": "Pending"}).optional_failed_steps == ()


QUIESCE = {"stage": "Done", "enteredAt": AT, "attempt": 1, "stoppedAt": AT, "frozenAt": AT, "resumedAt": AT}


@pytest.mark.parametrize(
    ("quiesce", "proven", "missing", "blocking"),
    [
        (QUIESCE, (), (), ()),
        ({**QUIESCE, "stage": "Resume", "resumedAt": None}, (), ("Quiesce",), ()),
        ({**QUIESCE, "stoppedAt": None, "resumedAt": None}, (), ("Quiesce",), ()),
        ({**QUIESCE, "resumedAt": None}, (), ("Quiesce",), ()),
        ({**QUIESCE, "failureReason": c.QUIESCE_FAILED}, (), (), ("Quiesce",)),
        (None, (), ("Quiesce",), ()),
        # Adopted: the manifest says it.
        (None, ("quiesce: the operator had stopped the workloads",), (), ()),
    ],
)
def test_a_quiesce_is_required_where_it_was_asked_for(
    quiesce: dict[str, Any] | None, proven: tuple[str, ...], missing: tuple[str, ...], blocking: tuple[str, ...]
) -> None:
    said = {**SNAPSHOT["evidence"], "proven": (*SNAPSHOT["evidence"]["proven"], *proven)}
    status = {**SNAPSHOT, "quiesce": quiesce, "evidence": said}
    found = of_snapshot(status, quiesce=True)
    consistent(found)
    assert found.required_steps[:2] == ("Prepare", "Quiesce")
    runs = quiesce is not None and quiesce["stage"] == "Resume"
    assert (found.progress.steps["Quiesce"] == "Running") == runs
    assert (found.missing_steps, found.blocking_steps) == (missing, blocking)
    assert of_snapshot(status).can_write_clean_success
    assert "Quiesce" not in of_snapshot(status).progress.steps


@pytest.mark.parametrize(
    ("status", "result", "reason", "first", "missing", "blocking"),
    [
        ({}, "pending", "Pending", "Not terminal.", 5, ()),
        ({"phase": "Pending", "conditions": RUNNING}, "pending", "Running", "Not terminal: Attempt 1 runs.", 5, ()),
        (
            {"phase": "Running", "conditions": RUNNING, "steps": states(Prepare="Done", DumpDatabase="Running")},
            "running", "Running", "Not terminal: Attempt 1 runs.", 4, (),
        ),
        (
            {"phase": "Failed", "conditions": failed(), "steps": states(Prepare="Done", DumpDatabase="Failed")},
            "failed", "DumpFailed", "DumpFailed: disk full.", 3, ("DumpDatabase",),
        ),
        # It failed before any step was reported.
        ({"phase": "Failed", "conditions": failed("DeadlineExceeded", "")}, "failed", "DeadlineExceeded",
         "DeadlineExceeded.", 5, ()),
    ],
    ids=str,
)  # fmt: skip
def test_a_snapshot_that_is_not_complete(
    status: dict[str, Any], result: str, reason: str, first: str, missing: int, blocking: tuple[str, ...]
) -> None:
    found = of_snapshot(status)
    consistent(found)
    assert (found.status, found.reason, found.why_not_green[0]) == (result, reason, first)
    assert (len(found.missing_steps), found.blocking_steps) == (missing, blocking)
    assert {"outcome: Complete", "manifest: key", "manifest: SHA-256", "database: SHA-256"} <= set(
        found.missing_evidence
    )
    assert found.artifact_checksums == found.artifact_paths == {}


# --- a Rollback ------------------------------------------------------------------------------------------------------


def test_a_complete_rollback_is_green() -> None:
    found = of_rollback(ROLLBACK)
    consistent(found)
    assert found.can_write_clean_success
    assert (found.operation, found.status, found.reason) == ("rollback", "completed", "Succeeded")
    assert found.required_steps == tuple(s.value for s in ROLLBACK_STEPS if s is not Step.CLEANUP)
    assert found.artifact_checksums == {"manifest": SHA}
    assert found.artifact_paths == {
        "liveDatabase": "shop",
        "previousDatabase": "shop_prev_11111111",
        "filestore": "files/filestore/shop",
    }
    assert f"Database shop_prev_11111111 is kept until {AT}." in found.why_green
    assert len(json.dumps(found.wire()).encode()) <= USUAL_BYTES


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (without(ROLLBACK, "snapshotId"), ("snapshot: id",)),
        (without(ROLLBACK, "manifestSha256"), ("snapshot: SHA-256 of its manifest",)),
        (without(ROLLBACK, "evidence"), ("restore: what was proven",)),
        (without(ROLLBACK, position="Old"), ("switch: position New",)),
        (without(ROLLBACK, "position"), ("switch: position New",)),
        (without(ROLLBACK, "liveDatabase"), ("switch: live database",)),
        (without(ROLLBACK, "previousDatabase"), ("switch: previous database",)),
        (without(ROLLBACK, "readyAt"), ("workloads: time when ready",)),
        (without(ROLLBACK, neutralize={"required": True, "ownIdentity": False}), ("neutralise: time of the proof",)),
        (without(ROLLBACK, neutralize={"required": False, "ownIdentity": True}), ("neutralise: time of the proof",)),
        (without(ROLLBACK, "recorded"), ("record: in status.executedRollbacks",)),
        (without(ROLLBACK, recorded=False), ("record: in status.executedRollbacks",)),
        (
            {**ROLLBACK, "evidence": {"proven": ["p"], "missing": ["ab/abcd"]}},
            ("filestore: lost files that the database names (1 listed, for example ab/abcd)",),
        ),
    ],
    ids=str,
)
def test_each_fact_of_a_rollback_is_needed(status: dict[str, Any], missing: tuple[str, ...]) -> None:
    found = of_rollback(status)
    consistent(found)
    assert (found.missing_evidence, found.missing_steps, found.blocking_steps) == (missing, (), ())


def test_a_rollback_that_need_not_be_neutralised() -> None:
    ordinary = without(ROLLBACK, "neutralize", steps=states(**{**ROLLED, "Neutralize": "Skipped"}))
    found = of_rollback(ordinary)
    assert found.can_write_clean_success, found.why_not_green
    assert "Neutralize" not in found.required_steps
    # But where it was asked for, its absence is no success.
    asked = of_rollback(ordinary, snapshotRef={"name": "s1"}, neutralize="Always")
    assert (asked.missing_steps, asked.missing_evidence) == (("Neutralize",), ("neutralise: time of the proof",))


@pytest.mark.parametrize("step", [s.value for s in ROLLBACK_STEPS])
@pytest.mark.parametrize("state", ["Pending", "Running", "Skipped", "Failed"])
def test_each_step_of_a_rollback_but_the_cleanup_is_needed(step: str, state: str) -> None:
    found = of_rollback({**ROLLBACK, "steps": states(**{**ROLLED, step: state})})
    consistent(found)
    assert found.can_write_clean_success == (step == "Cleanup")
    if step != "Cleanup":
        assert (step in found.blocking_steps, step in found.missing_steps) == (state == "Failed", state != "Failed")
    assert found.optional_failed_steps == (("Cleanup",) if (step, state) == ("Cleanup", "Failed") else ())


def test_a_cleanup_that_failed_or_was_given_up_is_an_optional_failure() -> None:
    found = of_rollback({**ROLLBACK, "residue": "Unknown"})
    assert (found.optional_failed_steps, found.can_write_clean_success) == (("Cleanup",), True)
    assert "Database shop_prev_11111111 could not be removed after the undo window." in found.why_green


def test_the_previous_database_is_not_promised_after_its_removal() -> None:
    found = of_rollback({**ROLLBACK, "residue": "None", "steps": states(**{**ROLLED, "Cleanup": "Done"})})
    assert found.can_write_clean_success
    assert "previousDatabase" not in found.artifact_paths
    assert "Database shop_prev_11111111 was removed after the undo window." in found.why_green


@pytest.mark.parametrize(
    ("target", "not_required"),
    [
        ({"databaseSecretName": "db"}, "RestoreFilestore"),
        ({"claimName": "files", "path": "data", "layout": "Plain"}, "RestoreDatabase"),
    ],
)
def test_only_the_parts_of_the_environment_are_required(target: dict[str, str], not_required: str) -> None:
    names = () if "databaseSecretName" in target else ("liveDatabase", "previousDatabase", "restoredDatabase")
    steps = states(**{**ROLLED, not_required: "Skipped"})
    found = of_rollback(without(ROLLBACK, *names, target=target, steps=steps))
    consistent(found)
    assert found.can_write_clean_success, found.why_not_green
    assert not_required not in found.required_steps


def test_a_database_that_did_not_exist_leaves_no_previous_one() -> None:
    found = of_rollback(without(ROLLBACK, "previousDatabase", liveMissing=True))
    assert found.can_write_clean_success
    assert "There was no database before: there is nothing to go back to." in found.why_green
    before = of_rollback(
        without(ROLLBACK, "previousDatabase", liveMissing=True, position="Old", phase="Failed", conditions=failed())
    )
    assert "liveDatabase" not in before.artifact_paths


BACK_BY_HAND = (
    condition(c.COMPLETE, reason=c.SWITCHED_BACK, message="It was switched back by hand."),
    condition(c.READY, "False", c.SWITCHED_BACK),
    condition(c.STALLED, reason=c.SWITCHED_BACK, message="It was switched back by hand."),
)


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        # Automatically: the workloads were not ready on the snapshot.
        (
            {"phase": "Failed", "position": "Old", "switchedBackAt": AT,
             "conditions": failed(c.SWITCHED_BACK, "not ready"),
             "steps": states(**{**ROLLED, "HealthCheck": "Failed", "SwitchBack": "Done"})},
            "failed", c.SWITCHED_BACK,
        ),
        # The switch back failed: the environment is on the snapshot, and the application is not ready.
        (
            {"phase": "Failed", "conditions": failed(c.WORKLOAD_NOT_READY, "not ready"),
             "steps": states(**{**ROLLED, "HealthCheck": "Failed", "SwitchBack": "Failed"})},
            "failed", c.WORKLOAD_NOT_READY,
        ),
        # By hand.
        ({"phase": "SwitchedBack", "position": "Old", "switchedBackAt": AT, "conditions": BACK_BY_HAND}, "completed",
         c.SWITCHED_BACK),
        # The time alone says it, and so does the phase.
        ({"switchedBackAt": AT}, "completed", "Succeeded"),
        ({"phase": "SwitchedBack", "conditions": BACK_BY_HAND}, "completed", c.SWITCHED_BACK),
        ({"steps": states(**ROLLED, SwitchBack="Done")}, "completed", "Succeeded"),
    ],
    ids=str,
)  # fmt: skip
def test_a_rollback_that_was_switched_back_is_never_green(changes: dict[str, Any], status: str, reason: str) -> None:
    found = of_rollback({**ROLLBACK, **changes})
    consistent(found)
    assert not found.can_write_clean_success
    assert (found.status, found.reason) == (status, reason)
    assert "SwitchBack" in found.blocking_steps
    assert found.optional_failed_steps == ()
    assert ("SwitchedBack: It was switched back by hand." in found.why_not_green) == (
        changes.get("phase") == "SwitchedBack"
    )
    if changes.get("position") == "Old":
        assert found.artifact_paths["restoredDatabase"] == "shop_rb_11111111"
        assert "previousDatabase" not in found.artifact_paths


UNDO = {"rollbackRef": {"name": "back"}}
UNDONE = without(
    ROLLBACK,
    "evidence",
    "neutralize",
    undo={"rollbackName": "back", "rollbackId": UID, "namesId": UID, "to": "Old"},
    steps=states(**{**ROLLED, "RestoreDatabase": "Skipped", "RestoreFilestore": "Skipped", "Check": "Skipped"}),
)


def test_an_undo_restores_nothing_and_is_green_by_its_switch() -> None:
    found = of_rollback(UNDONE, undo=UNDO)
    consistent(found)
    assert found.can_write_clean_success, found.why_not_green
    assert found.required_steps == ("Preflight", "Quiesce", "Switch", "Resume", "HealthCheck")
    # The manifest of the snapshot that the other Rollback restored says nothing of what runs now.
    assert found.artifact_checksums == {}
    assert not of_rollback(UNDONE).can_write_clean_success


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (without(UNDONE, "undo"), ("undo: id of the Rollback",)),
        (without(UNDONE, position="Old"), ("switch: position New",)),
        (without(UNDONE, "previousDatabase"), ("switch: previous database",)),
        (without(UNDONE, "readyAt"), ("workloads: time when ready",)),
        (without(UNDONE, "recorded"), ("record: in status.executedRollbacks",)),
    ],
    ids=str,
)
def test_each_fact_of_an_undo_is_needed(status: dict[str, Any], missing: tuple[str, ...]) -> None:
    found = of_rollback(status, undo=UNDO)
    consistent(found)
    assert (found.missing_evidence, found.missing_steps, found.blocking_steps) == (missing, (), ())


def test_a_rollback_that_was_undone_is_completed_and_not_green() -> None:
    said = (
        condition(c.COMPLETE, reason=c.UNDONE, message="Rollback undo-1 has undone it."),
        condition(c.READY, "False", c.UNDONE),
    )
    found = of_rollback(
        {**ROLLBACK, "phase": "SwitchedBack", "position": "Old", "undoneBy": "undo-1", "conditions": said}
    )
    consistent(found)
    assert (found.status, found.reason, found.blocking_steps) == ("completed", c.UNDONE, ("SwitchBack",))
    assert found.why_not_green[0] == "Undone: Rollback undo-1 has undone it."


def test_a_rollback_that_did_nothing_proves_nothing() -> None:
    skipped = states(**dict.fromkeys(ROLLED, "Skipped"))
    done = (condition(c.COMPLETE, reason=c.ALREADY_EXECUTED), condition(c.READY))
    found = of_rollback({"phase": "Complete", "conditions": done, "steps": skipped, "residue": "None"})
    consistent(found)
    assert (found.status, found.reason) == ("completed", c.ALREADY_EXECUTED)
    assert found.missing_steps == found.required_steps
    assert found.why_not_green[0] == "Nothing was done: a rollback of this name and specification had run before."


@pytest.mark.parametrize(
    ("changes", "status", "missing", "blocking"),
    [
        ({"phase": "Restoring", "conditions": RUNNING, "steps": states(Preflight="Done", RestoreDatabase="Running")},
         "running", 7, ()),
        ({"phase": "Pending", "conditions": (), "steps": states(Preflight="Running")}, "pending", 8, ()),
        (
            {"phase": "Failed", "conditions": failed(c.CANCELLED),
             "steps": states(Preflight="Done", RestoreDatabase="Failed", Switch="Skipped")},
            "failed", 6, ("RestoreDatabase",),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_rollback_that_is_not_complete(
    changes: dict[str, Any], status: str, missing: int, blocking: tuple[str, ...]
) -> None:
    start = {
        "target": ROLLBACK["target"],
        "position": "Old",
        "liveDatabase": "shop",
        "snapshotId": UID,
        "manifestSha256": SHA,
    }
    found = of_rollback({**start, **changes})
    consistent(found)
    assert (found.status, len(found.missing_steps), found.blocking_steps) == (status, missing, blocking)
    assert "switch: position New" in found.missing_evidence
    assert found.artifact_paths == {"liveDatabase": "shop", "filestore": "files/filestore/shop"}


# --- both ------------------------------------------------------------------------------------------------------------


def test_only_snapshots_and_rollbacks_have_it() -> None:
    spec = SnapshotSpec.model_validate({"environmentRef": {"name": "shop"}})
    back = RollbackSpec.model_validate({"snapshotRef": {"name": "before"}})
    assert e.of(spec, SnapshotStatus.model_validate(SNAPSHOT)) == of_snapshot(SNAPSHOT)
    assert e.of(back, RollbackStatus.model_validate(ROLLBACK)) == of_rollback(ROLLBACK)
    assert e.of(spec, RollbackStatus()) is None


def test_every_field_of_the_rest_api_is_always_there() -> None:
    """The document's object, field by field (ocore-snapshots-api.txt)."""
    fields = {
        *("artifactChecksums", "artifactPaths", "blockingSteps", "canWriteCleanSuccess"),
        *("missingEvidence", "missingSteps", "operation", "optionalFailedSteps", "progress", "reason"),
        *("remoteCopyState", "requiredSteps", "status", "whyGreen", "whyNotGreen"),
    }
    for found in (of_snapshot({}), of_snapshot(SNAPSHOT), of_rollback({}), of_rollback(ROLLBACK)):
        assert set(found.wire()) == fields
    assert structural(RecoveryEvidence)["x-kubernetes-map-type"] == "atomic"


def test_it_does_not_grow_with_what_was_recorded() -> None:
    """Files, warnings, messages, artifacts of a newer mover: the status has them already."""
    words = {
        "required": ["r" * 500] * 200,
        "proven": ["p" * 500] * 200,
        "missing": ["m" * 255] * 100,
        "warnings": ["w" * 500] * 200,
        "checksums": {**SNAPSHOT["evidence"]["checksums"], **{f"a{i}": SHA for i in range(500)}},
        "paths": {**SNAPSHOT["evidence"]["paths"], **{f"a{i}": "k" * 200 for i in range(500)}},
    }
    long = {**SNAPSHOT, "conditions": failed(message="word " * 6000), "phase": "Failed", "evidence": words}
    found = of_snapshot(long)
    consistent(found)
    assert len(json.dumps(found.wire()).encode()) <= 2 * USUAL_BYTES
    assert set(found.artifact_checksums) == set(SNAPSHOT["evidence"]["checksums"])
    assert len(found.why_not_green[0]) <= e.MESSAGE_CHARACTERS


STATES = st.sampled_from(["Pending", "Running", "Done", "Skipped", "Failed"])
CONDITIONS = st.lists(
    st.builds(
        condition,
        st.sampled_from([c.COMPLETE, c.FAILED, c.READY, c.STALLED, c.RECONCILING, c.VERIFIED]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from([c.SUCCEEDED, c.CORRUPT, c.DELETING, c.DUMP_FAILED, c.SWITCHED_BACK]),
        st.sampled_from(["", "disk full", "x" * 3000]),
    ),
    unique_by=lambda x: str(x["type"]),
    max_size=5,
)


def damaged(
    whole: dict[str, Any], phases: tuple[str, ...], names: tuple[str, ...]
) -> st.SearchStrategy[dict[str, Any]]:
    """A good status in which up to two fields are missing and up to two are different."""
    other: dict[str, st.SearchStrategy[Any]] = {
        "phase": st.sampled_from(phases),
        "conditions": CONDITIONS,
        "steps": st.dictionaries(st.sampled_from(names), STATES).map(lambda found: states(**found)),
        "residue": st.sampled_from(["None", "Pending", "Unknown"]),
        "position": st.sampled_from(["Old", "New"]),
        "switchedBackAt": st.just(AT),
        "liveMissing": st.booleans(),
        "quiesce": st.just(QUIESCE),
    }
    removed = st.sets(st.sampled_from(sorted(whole)), max_size=2)
    keys = st.sets(st.sampled_from(sorted(other)), max_size=2)
    changes = keys.flatmap(lambda found: st.fixed_dictionaries({key: other[key] for key in sorted(found)}))
    return st.builds(lambda gone, new: {**without(whole, *gone), **new}, removed, changes)


SNAPSHOTS = damaged(SNAPSHOT, ("Pending", "Running", "Complete", "Failed", "Corrupt"), (*STEPS, "Quiesce", "Cleanup"))
ROLLBACKS = damaged(
    ROLLBACK, ("Pending", "Restoring", "Switching", "Complete", "Failed", "SwitchedBack"), (*ROLLED, "SwitchBack")
)


@given(SNAPSHOTS, st.sampled_from(["Checksums", "Full"]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_a_snapshot_has_recorded(status: dict[str, Any], verify: str, quiesce: bool) -> None:
    found = of_snapshot(status, verify=verify, quiesce=quiesce)
    consistent(found)
    parsed = SnapshotStatus.model_validate(status)
    if found.can_write_clean_success:
        assert c.is_true(parsed.conditions, c.COMPLETE)
        assert c.is_true(parsed.conditions, c.READY)
        assert parsed.phase != "Corrupt"
        assert parsed.manifest_sha256 == found.artifact_checksums["manifest"]
        verified = c.find(parsed.conditions, c.VERIFIED)
        assert verified is None or verified.status != "False"
        assert verify == "Checksums" or c.is_true(parsed.conditions, c.VERIFIED)
        assert {e.ARTIFACT_OF_PART[p] for p in parsed.parts or ()} <= set(found.artifact_checksums)
    # It is derived from the other fields, never from itself.
    again = {**status, "recoveryEvidence": found.wire()}
    assert of_snapshot(again, verify=verify, quiesce=quiesce) == found


@given(ROLLBACKS)
@settings(max_examples=200, deadline=None)
def test_whatever_a_rollback_has_recorded(status: dict[str, Any]) -> None:
    found = of_rollback(status)
    consistent(found)
    parsed = RollbackStatus.model_validate(status)
    if found.can_write_clean_success:
        assert c.is_true(parsed.conditions, c.COMPLETE)
        assert parsed.phase != "SwitchedBack"
        assert parsed.position == "New"
        assert parsed.switched_at is not None
        assert parsed.switched_back_at is None
        assert "SwitchBack" not in {s.name for s in parsed.steps}
        assert parsed.recorded
    assert of_rollback({**status, "recoveryEvidence": found.wire()}) == found


@given(
    st.dictionaries(st.sampled_from("ABCDEF"), STATES),
    st.lists(st.sampled_from("ABCDEF"), max_size=6),
    st.lists(st.sampled_from("ABCDEF"), max_size=2),
    st.lists(st.sampled_from("ABCDEF"), max_size=2),
    st.dictionaries(st.sampled_from(["x", "y"]), st.booleans()),
    st.sampled_from(["pending", "running", "completed", "failed"]),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_recorded(
    steps: dict[str, str],
    required: list[str],
    blocking: list[str],
    failed_: list[str],
    facts: dict[str, bool],
    status: str,
) -> None:
    found = e.derive(
        recorded(
            steps=steps,
            required=required,
            blocking=blocking,
            failed=failed_,
            proofs=(e.Proof("p", facts),),
            status=status,
        )
    )
    consistent(found)
    whole = all(steps.get(name) == "Done" for name in required)
    assert found.can_write_clean_success == (whole and not blocking and all(facts.values()) and status == "completed")


# --- createSafetySnapshot and restoreImage ---------------------------------------------------------------------------

ASKED = {"snapshotRef": {"name": "s1"}, "createSafetySnapshot": True, "restoreImage": "Always"}
WITH_ASKED: dict[str, Any] = {
    **ROLLBACK,
    "steps": states(**{**ROLLED, "SafetySnapshot": "Done", "RestoreImage": "Done"}),
    "safetySnapshotName": "r1-safety-1",
    "safetySnapshotId": UID,
    "safetySnapshotAt": AT,
    "image": {"mode": "Always", "reference": "shop:1@sha256:11"},
}


def test_what_a_rollback_is_asked_for_is_required_in_its_order() -> None:
    found = of_rollback(WITH_ASKED, **ASKED)
    consistent(found)
    assert found.can_write_clean_success, found.why_not_green
    names = list(found.required_steps)
    assert names.index("SafetySnapshot") == names.index("Preflight") + 1
    assert names.index("RestoreImage") == names.index("Switch") + 1
    assert list(found.progress.steps) == [*names, "Cleanup"]
    assert f"Snapshot r1-safety-1 saved the environment before the switch; it shows {AT}." in found.why_green
    assert any("shop:1@sha256:11" in text for text in found.why_green)
    plain = of_rollback(ROLLBACK)
    assert not {"SafetySnapshot", "RestoreImage"} & {*plain.required_steps, *plain.progress.steps}


@pytest.mark.parametrize("step", ["SafetySnapshot", "RestoreImage"])
@pytest.mark.parametrize("state", ["Pending", "Running", "Skipped", "Failed"])
def test_a_step_that_is_asked_for_and_not_done_is_no_clean_success(step: str, state: str) -> None:
    """Also where a GitOps tool owns the image, and the step was left out."""
    both = {**ROLLED, "SafetySnapshot": "Done", "RestoreImage": "Done", step: state}
    found = of_rollback({**WITH_ASKED, "steps": states(**both)}, **ASKED)
    consistent(found)
    assert not found.can_write_clean_success
    assert (step in found.blocking_steps, step in found.missing_steps) == (state == "Failed", state != "Failed")


@pytest.mark.parametrize(
    ("field", "fact"),
    [
        ("safetySnapshotId", "safety snapshot: id"),
        ("safetySnapshotAt", "safety snapshot: point in time"),
        ("image", "image: reference"),
    ],
)
def test_each_fact_of_what_is_asked_for_is_needed(field: str, fact: str) -> None:
    found = of_rollback(without(WITH_ASKED, field), **ASKED)
    consistent(found)
    assert found.missing_evidence == (fact,)
