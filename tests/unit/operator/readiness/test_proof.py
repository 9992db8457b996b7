"""When a schema-only restore proves RollbackReady, and what its result means."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition
from ocore_crds.protocol import DatabaseFacts, Failure, Finding, ProbeResult, ProofResult
from ocore_crds.resources.environment import EnvironmentStatus, Operation, ProofStatus
from ocore_operator.entries.operations import operations, rollback_near
from ocore_operator.jobs.observing.outcome import Absent, JobFailed, NoResult, Running, Succeeded
from ocore_operator.readiness import proof, schedule
from ocore_operator.readiness.verdict import found, proven
from ocore_operator.rollback.snapshot_and_environment import is_rollback_ready, not_ready
from support.operator.catalogs import new_catalog
from support.operator.objects import OTHER_UID, SETTINGS, UID, at, environment, moment, obj
from support.operator.readiness import Beside

DAY = SETTINGS.proof_interval
FAULT = Finding(reason=c.RESTORE_FAILED, message="pg_restore 17.2: ERROR: function plain(text) does not exist")
GRANT = Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE shop CREATEDB;")


def proof_status(**changes: Any) -> ProofStatus:
    """One that succeeded at NOW for the schema `abc`."""
    fields: dict[str, Any] = {
        "attempted_at": at(0),
        "result": "Succeeded",
        "time": at(0),
        "schema_fingerprint": "abc",
        "image": "mover:17",
        **changes,
    }
    return ProofStatus(**fields)


def due(seconds: float, status: ProofStatus | None, fingerprint: str = "abc", image: str = "mover:17") -> float | None:
    return proof.due_in(SETTINGS, moment(seconds), status, fingerprint=fingerprint, image=image)


def test_the_first_proof_is_made_at_once() -> None:
    assert due(0, None) == 0
    assert due(0, None, fingerprint="") == 0


def test_a_schema_that_is_proven_is_not_proven_again() -> None:
    assert due(0, proof_status()) is None
    assert due(100 * DAY, proof_status()) is None


@pytest.mark.parametrize("changed", [{"fingerprint": "new"}, {"image": "mover:18"}, {"fingerprint": ""}])
def test_a_change_is_proven_at_most_once_a_day(changed: dict[str, str]) -> None:
    assert due(60, proof_status(), **changed) == DAY - 60
    assert due(DAY, proof_status(), **changed) == 0


def test_a_failure_is_proven_again_once_the_schema_changes_or_after_a_day() -> None:
    failed = proof_status(result="Failed", message="x")
    assert due(60, failed) == DAY - 60
    assert due(DAY, failed) == 0
    assert due(60, failed, fingerprint="fixed") == proof.RECHECK - 60
    assert due(proof.RECHECK, failed, fingerprint="fixed") == 0
    # A fingerprint that cannot be read always differs: it must not prove again and again.
    assert due(proof.RECHECK, failed, fingerprint="") == DAY - proof.RECHECK


def test_an_attempt_without_a_result_is_repeated_after_a_pause() -> None:
    first = ProofStatus(attempted_at=at(0), attempt_error="evicted")
    assert due(60, first) == proof.RETRY - 60
    assert due(proof.RETRY, first) == 0
    later = proof_status(attempted_at=at(DAY), attempt_error="evicted")
    assert due(DAY + 60, later, fingerprint="new") == proof.RETRY - 60
    assert due(DAY + 60, later) is None, "the schema is as it was proven"


@pytest.mark.parametrize(
    ("kind", "held_by", "expected"),
    [("Snapshot", None, False), ("Rollback", None, True), (None, "Snapshot", False), (None, "Rollback", True)],
)
def test_no_proof_beside_a_rollback(kind: str | None, held_by: Any, expected: bool) -> None:
    catalog = new_catalog()
    if kind is not None:
        spec = {"environmentRef": {"name": "shop"}, "snapshotRef": {"name": "before"}}
        catalog.put(kind, obj(kind, "op", spec, {"environmentName": "shop"}))
    lock = Operation(kind=held_by, name="op", uid=OTHER_UID, since=at(0)) if held_by is not None else None
    assert rollback_near(lock, operations(catalog, "shop", "shop")) is expected


def probed(fingerprint: str = "abc", *findings: Finding, admin: bool = True, **status: Any) -> EnvironmentStatus:
    """The status after a probe that found this schema."""
    database = {"secretRef": {"name": "db"}, "capacity": "10Gi", **({"adminSecretRef": {"name": "a"}} if admin else {})}
    facts = DatabaseFacts(name="shop", server_version="17.2", server_major=17, schema_fingerprint=fingerprint)
    result = ProbeResult(database=facts, rollback=findings)
    return found(environment({"database": database}, status or None), result, (15, 17), began=at(1), now=at(3))


def rollback_ready(status: EnvironmentStatus) -> Condition:
    got = c.find(status.conditions, c.ROLLBACK_READY)
    assert got is not None
    return got


def after_proof(status: EnvironmentStatus, *findings: Finding, fingerprint: str = "abc") -> EnvironmentStatus:
    result = ProofResult(schema_fingerprint=fingerprint, findings=findings)
    return proven(environment(), proof.recorded(status, result, image="mover:17", now=at(60)), at(60))


def test_the_message_names_the_proof() -> None:
    before = rollback_ready(probed())
    assert (before.status, before.reason) == ("True", c.SUCCEEDED)
    assert "No schema-only restore has proven it yet" in before.message
    after = rollback_ready(after_proof(probed()))
    assert after.status == "True"
    assert f"proved it at {at(60)}." in after.message
    changed = rollback_ready(after_proof(probed("new")))
    assert changed.status == "True"
    assert f"proved it at {at(60)}; the schema has changed since" in changed.message


def test_row_30_a_failed_proof_is_against_it_until_one_succeeds() -> None:
    failed = after_proof(probed(), FAULT)
    condition = rollback_ready(failed)
    assert (condition.status, condition.reason) == ("False", c.PROOF_FAILED)
    assert FAULT.message in condition.message
    assert at(60) in condition.message
    # The next probe does not forget it.
    again = probed("abc", proof=failed.proof.wire() if failed.proof else {})
    assert rollback_ready(again).reason == c.PROOF_FAILED
    assert rollback_ready(after_proof(again)).status == "True"
    assert c.is_true(failed.conditions, c.READY), "snapshots work"


def test_what_the_catalogs_show_comes_first() -> None:
    status = probed("abc", GRANT)
    for result in (after_proof(status), after_proof(status, FAULT)):
        assert rollback_ready(result).reason == c.MISSING_GRANTS
        assert result.proof is not None


def test_an_attempt_without_a_result_keeps_the_last_result() -> None:
    failed = after_proof(probed(), FAULT)
    for status, expected in ((failed, "False"), (after_proof(probed()), "True"), (probed(), "True")):
        lost = proven(environment(), proof.not_made(status, "JobLost: evicted", now=at(90)), at(90))
        assert rollback_ready(lost).status == expected
        assert lost.proof is not None
        assert (lost.proof.attempted_at, lost.proof.attempt_error) == (at(90), "JobLost: evicted")
        if expected == "True":
            assert "JobLost: evicted" in rollback_ready(lost).message
        repeated = proof.recorded(lost, ProofResult(schema_fingerprint="abc"), image="mover:17", now=at(99)).proof
        assert repeated is not None
        assert repeated.attempt_error == ""


def test_each_attempt_has_a_job_of_its_own() -> None:
    first = EnvironmentStatus()
    second = proof.not_made(first, "x", now=at(0))
    third = proof.recorded(second, ProofResult(), image="", now=at(1))
    assert len({proof.attempt_name(s) for s in (first, second, third)}) == 3
    assert proof.attempt_name(first) == proof.attempt_name(EnvironmentStatus())


def test_a_rollback_is_not_refused_because_of_a_proof() -> None:
    """It restores the schema of its snapshot, and may be the way out of a broken one."""
    for status, ready, warned in (
        (after_proof(probed(), FAULT), True, True),
        (after_proof(probed()), True, False),
        (probed("abc", GRANT), False, False),
    ):
        found = environment(status=status.wire())
        assert is_rollback_ready(found) is ready
        assert (not_ready(found)[0] == c.PROOF_FAILED) is warned


# --- the Job ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outdated", "since"), [("", 3), (at(2), 3), (at(20), 20)])
def test_a_proof_waits_until_the_environment_has_been_probed_for_a_minute(outdated: str, since: float) -> None:
    """The first operations follow soon after a probe, and a Rollback would stop a proof. After a rollback the last
    probe shows the schema of another database."""
    site = Beside(Absent())
    site.outdated, site.now = outdated, since + schedule.RENEWAL - 1
    _, after = site.reconcile(probed())
    assert (site.started, after) == ([], 1)
    site.now += 1
    site.reconcile(probed())
    assert len(site.started) == 1


def test_a_proof_is_started_after_the_probe() -> None:
    site = Beside(Absent())
    site.now = 100.0
    status, after = site.reconcile(probed())
    assert site.started == [f"prove-{UID.replace('-', '')[:12]}-{proof.attempt_name(status)}-1"]
    assert status == probed()
    assert after is not None
    assert after > 0


@pytest.mark.parametrize("why", ["rollback", "lock", "catalogs", "no database", "old probe", "proven", "not ready"])
def test_no_proof_is_started(why: str) -> None:
    site = Beside(Absent())
    site.now = 100.0
    status, spec = probed(), None
    if why == "rollback":
        site.rollback()
    elif why == "lock":
        lock = Operation(kind="Snapshot", name="op", uid=OTHER_UID, since=at(0))
        status = status.model_copy(update={"operation": lock})
    elif why == "catalogs":
        status = probed("abc", GRANT)
    elif why == "no database":
        spec = {"database": None, "filestore": {"claimName": "files", "path": "x", "layout": "Plain"}}
    elif why == "old probe":
        assert status.probe is not None
        status = status.model_copy(update={"probe": status.probe.model_copy(update={"generation": 0})})
    elif why == "proven":
        image = SETTINGS.image(17)
        status = proof.recorded(status, ProofResult(schema_fingerprint="abc"), image=image, now=at(0))
    elif why == "not ready":
        kept = tuple(x for x in status.conditions if x.type != c.READY)
        status = status.model_copy(update={"conditions": kept})
    site.reconcile(status, spec)
    assert site.started == []


def test_a_rollback_stops_a_proof_that_runs() -> None:
    running = Running(pod="p", node="n", since=at(0), ready=False, restarts=0)
    site = Beside(running)
    site.reconcile(probed())
    assert site.stopped == []
    site.rollback()
    status, _ = site.reconcile(probed())
    assert len(site.stopped) == 1
    assert status.proof is None


def test_what_a_stopped_proof_reports_does_not_count() -> None:
    cancelled = JobFailed(Failure(reason=c.CANCELLED, message="x"), at(0))
    status, _ = Beside(cancelled, stopping=True).reconcile(probed())
    assert status.proof is None


@pytest.mark.parametrize(
    ("state", "result", "error"),
    [
        (Succeeded(ProofResult(schema_fingerprint="abc"), at(0)), "Succeeded", ""),
        (Succeeded(ProofResult(schema_fingerprint="abc", findings=(FAULT,)), at(0)), "Failed", ""),
        (JobFailed(Failure(reason=c.DATABASE_UNREACHABLE, message="gone"), at(0)), None, "DatabaseUnreachable: gone"),
        (NoResult("its pod is gone", at(0)), None, "JobLost: The proof left no result: its pod is gone"),
        (Succeeded(ProbeResult(), at(0)), None, "InternalError: The proof reported a "),
    ],
)
def test_the_result_of_a_proof(state: Any, result: str | None, error: str) -> None:
    status, after = Beside(state).reconcile(probed())
    assert after == 0
    assert status.proof is not None
    assert status.proof.result == result
    assert error in status.proof.attempt_error
    assert bool(status.proof.attempt_error) == bool(error)
    assert rollback_ready(status).status == ("False" if result == "Failed" else "True")
    assert (status.proof.image == SETTINGS.image(17)) == (result is not None)


def test_a_status_of_before_this_version_has_no_fingerprint() -> None:
    """After an upgrade of the operator: the proof waits for a fingerprint no longer than for the first proof."""
    status = replace(environment(status=probed("").wire()))
    assert status.status.probe is not None
    assert due(0, status.status.proof, fingerprint=status.status.probe.schema_fingerprint) == 0
