"""recoveryEvidence of a Snapshot through its real transitions, as the one writer adds it."""

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Result, SnapshotResult, VerifyResult
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.stored.manifest import Evidence
from ocore_operator import damage, summarize
from ocore_operator.errors import Failed, Stalled
from ocore_operator.frame.actions import Wait
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import transitions as t
from ocore_operator.summarize import Stamp
from support.operator.objects import OTHER_UID, UID, at, environment, moment, snapshot, store

RESULT = SnapshotResult(
    attempt="1-x",
    manifest_key=f"environments/{UID}/snapshots/{UID}/manifest.json",
    manifest_sha256="ab" * 32,
    store_id=OTHER_UID,
    started_at=at(0),
    consistent_at=at(3),
    completed_at=at(9),
    server_version="17.4",
    server_major=17,
    database_bytes=8_000_000,
    database_stored_bytes=900_000,
    filestore_bytes=500,
    filestore_files=3,
    filestore_stored_bytes=400,
    stored_bytes=900_500,
    checksums=dict.fromkeys(("manifest", "database", "filestore", "config"), "ab" * 32),
    paths={name: f"environments/{UID}/{name}" for name in ("manifest", "database", "filestore", "config")},
    evidence=Evidence(required=("database", "filestore"), proven=("database dump: 20 files", "filestore: 3 files")),
)
STEPS = ("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish", "Verify")


class Life:
    """One Snapshot from its creation on: each transition is written as summarize.write does it."""

    def __init__(self, **spec: Any) -> None:
        self.spec = spec
        self.snapshot = snapshot(spec)
        self.now = 0.0

    def write(self, status: SnapshotStatus) -> RecoveryEvidence:
        """The evidence that is in the status as the API server stores it, which the next transition begins from."""
        body = json.loads(json.dumps(summarize.applied(summarize.evidenced(self.snapshot, status))))
        self.snapshot = snapshot(self.spec, body)
        found = self.snapshot.status.recovery_evidence
        assert found is not None
        return found

    def moment(self) -> datetime:
        self.now += 1
        return moment(self.now)

    def start(self, env: Object | None = None) -> RecoveryEvidence:
        self.write(t.queued(self.snapshot, self.moment()))
        inputs = JobInputs("shop", store(), PodTraits(), image="shop:1")
        return self.write(t.started(self.snapshot, environment(env), inputs, self.moment()))

    def under_way(self, log: LogState) -> RecoveryEvidence:
        return self.write(
            t.waiting(self.snapshot, self.moment(), Wait(1, c.RUNNING, "Attempt 1 runs.", job="job-1"), log)
        )

    def complete(self, result: SnapshotResult = RESULT, log: LogState | None = None, **how: bool) -> RecoveryEvidence:
        how = {"clean": True, "imported": False, **how}
        return self.write(t.completed(self.snapshot, result, log, now=self.moment(), **how))


def reported(*steps: tuple[str, str]) -> LogState:
    """A Job's log with these step reports."""
    log = LogState()
    for name, state in steps:
        assert log.take(json.dumps({"type": "step", "step": name, "state": state, "time": at(1)})) is not None
    return log


def whole_log() -> LogState:
    return reported(*((name, state) for name in STEPS for state in ("Running", "Done")))


def test_from_its_creation_to_green() -> None:
    life = Life()
    queued = life.write(t.queued(life.snapshot, life.moment()))
    assert (queued.status, queued.reason, queued.can_write_clean_success) == ("pending", c.PENDING, False)
    started = life.start()
    assert (started.status, started.progress.done) == ("running", 0)
    assert started.missing_steps == started.required_steps == STEPS[:-1]
    dumping = life.under_way(reported(("Prepare", "Running"), ("Prepare", "Done"), ("DumpDatabase", "Running")))
    assert (dumping.progress.step, dumping.progress.done) == ("DumpDatabase", 1)
    assert dumping.missing_steps == STEPS[1:-1]
    assert "Step DumpDatabase is not done (Running)." in dumping.why_not_green
    assert not dumping.can_write_clean_success
    complete = life.complete(log=whole_log())
    assert complete.can_write_clean_success, complete.why_not_green
    assert (complete.status, complete.reason, complete.progress.done) == ("completed", c.SUCCEEDED, 5)
    assert complete.artifact_checksums == RESULT.checksums
    assert complete.artifact_paths == RESULT.paths
    # Its contents are found to differ later, and are then found to be right.
    corrupt = life.write(damage.corrupt(life.snapshot, "3 bytes differ.", life.moment()))
    assert (corrupt.status, corrupt.reason, corrupt.blocking_steps) == ("failed", c.CORRUPT, ("Verify",))
    assert not corrupt.can_write_clean_success
    again = life.write(t.verified(life.snapshot, VerifyResult(objects=3, bytes_read=9), life.moment()))
    assert again.can_write_clean_success


@pytest.mark.parametrize("read_back", [False, True])
def test_reading_back_that_was_asked_for_is_waited_for(read_back: bool) -> None:
    life = Life(verify="Full")
    life.start()
    done = life.complete(RESULT.model_copy(update={"read_back": read_back}), whole_log())
    assert done.can_write_clean_success == read_back
    assert done.missing_steps == (() if read_back else ("Verify",))
    if read_back:
        return
    waits = life.write(t.unverified(life.snapshot, c.STORE_UNREACHABLE, "no route", life.moment()))
    assert (waits.status, waits.missing_steps) == ("completed", ("Verify",))
    verified = life.write(t.verified(life.snapshot, VerifyResult(objects=3, bytes_read=9), life.moment()))
    assert verified.can_write_clean_success
    assert "Every byte was read back and matched." in verified.why_green


def test_a_failure_names_the_step_and_the_message() -> None:
    life = Life()
    life.start()
    life.under_way(reported(("Prepare", "Running"), ("Prepare", "Done"), ("DumpDatabase", "Running")))
    end = Failed(c.DUMP_FAILED, "pg_dump exited with code 1: disk full.")
    found = life.write(t.failed(life.snapshot, end, stored=True, now=life.moment()))
    assert (found.status, found.reason, found.blocking_steps) == ("failed", c.DUMP_FAILED, ("DumpDatabase",))
    assert found.why_not_green[:2] == (
        "DumpFailed: pg_dump exited with code 1: disk full.",
        "Step DumpDatabase failed.",
    )
    assert found.why_green == ()


def test_an_attempt_that_failed_is_forgotten_by_the_next_one() -> None:
    life = Life()
    life.start()
    life.under_way(reported(("Prepare", "Done"), ("DumpDatabase", "Failed")))
    second = life.write(t.next_attempt(life.snapshot, 2, "Attempt 2 begins.", life.moment()))
    assert (second.blocking_steps, second.progress.done) == ((), 0)
    assert life.complete(log=whole_log(), clean=False).can_write_clean_success


def test_an_adopted_snapshot_is_green_by_its_manifest_alone() -> None:
    """The Environment of a rebuilt cluster may store something else: the manifest decides what had to be stored."""
    life = Life(id=UID)
    life.start()
    stored = RESULT.model_copy(
        update={
            "checksums": {k: v for k, v in RESULT.checksums.items() if k != "config"},
            "paths": {k: v for k, v in RESULT.paths.items() if k != "config"},
        }
    )
    found = life.complete(stored, imported=True, clean=False)
    assert life.snapshot.status.parts == ("Database", "Filestore")
    assert life.snapshot.status.steps == ()
    assert found.can_write_clean_success, found.why_not_green
    assert found.required_steps == ("Prepare", "DumpDatabase", "CopyFilestore", "Publish")


def test_a_part_that_the_environment_lost_before_the_job_is_missing() -> None:
    """Otherwise a Snapshot without its database would be as green as any other."""
    life = Life()
    life.start()
    assert life.snapshot.status.parts == ("Database", "Filestore", "Config")
    stored = RESULT.model_copy(
        update={
            "checksums": {k: v for k, v in RESULT.checksums.items() if k != "database"},
            "paths": {k: v for k, v in RESULT.paths.items() if k != "database"},
        }
    )
    log = reported(*((name, "Done") for name in STEPS if name != "DumpDatabase"))
    found = life.complete(stored, log)
    assert found.missing_steps == ("DumpDatabase",)
    assert "database: SHA-256" in found.missing_evidence
    # One whose Environment has no database is whole without it.
    other = Life()
    other.start({"database": None})
    assert other.complete(stored, log).can_write_clean_success


@pytest.mark.parametrize("lost", ["paths", "evidence"])
def test_what_did_not_fit_into_the_termination_message_comes_from_the_log(lost: str) -> None:
    cut = RESULT.model_copy(update={lost: {} if lost == "paths" else Evidence()})
    log = whole_log()
    assert log.take(json.dumps(Result(ok=True, payload=RESULT, time=at(9)).wire())) is not None
    assert t.full_evidence(cut, log) == RESULT
    life = Life()
    life.start()
    assert life.complete(t.full_evidence(cut, log), log).can_write_clean_success
    # Where the log is lost too, it says what is missing.
    other = Life()
    other.start()
    found = other.complete(t.full_evidence(cut, None))
    assert found.missing_steps == ()
    assert found.missing_evidence == (
        ("database: path", "filestore: path", "config: path") if lost == "paths" else ("report: what was proven",)
    )


def test_one_that_may_lack_files_is_complete_and_no_clean_success() -> None:
    text = "2 names came and went while the database was exported"
    life = Life()
    life.start()
    evidence = RESULT.evidence.model_copy(update={"incomplete": (text,)})
    found = life.complete(RESULT.model_copy(update={"evidence": evidence}), whole_log())
    assert (found.status, found.can_write_clean_success) == ("completed", False)
    assert found.missing_evidence == (f"everything of the application: {text}",)
    condition = c.find(life.snapshot.status.conditions, c.INCOMPLETE)
    assert condition is not None
    assert (condition.status, condition.reason, condition.message) == ("True", c.FILES_NOT_INCLUDED, f"{text}.")


def test_data_that_is_being_deleted_is_not_green() -> None:
    life = Life()
    life.start()
    life.complete(log=whole_log())
    stamp = Stamp.of(life.snapshot.meta, life.moment())
    deleting = summarize.with_condition(life.snapshot.status, c.READY, "False", c.DELETING, "deleting", stamp)
    assert life.write(deleting).missing_evidence == ("outcome: Ready",)


class Kube:
    """Counts the writes of a status."""

    def __init__(self) -> None:
        self.bodies: list[Object] = []

    async def apply_status(self, obj: Snapshot, body: Object) -> None:
        self.bodies.append(body)


class Ctx:
    def __init__(self) -> None:
        self.kube = Kube()


def test_the_writer_adds_it_and_writes_nothing_twice() -> None:
    """With the terminal status in the same request; the same status again is no request."""
    life = Life()
    life.start()
    ctx: Any = Ctx()
    status = t.completed(life.snapshot, RESULT, whole_log(), clean=True, imported=False, now=moment(9))
    asyncio.run(summarize.write(ctx, life.snapshot, status))
    (body,) = ctx.kube.bodies
    assert body["phase"] == "Complete"
    assert body["recoveryEvidence"]["canWriteCleanSuccess"] is True
    stored = snapshot(None, body)
    asyncio.run(summarize.write(ctx, stored, status))
    asyncio.run(summarize.write(ctx, stored, stored.status))
    assert len(ctx.kube.bodies) == 1
    # One that an older operator wrote gets it.
    old = snapshot(None, {k: v for k, v in body.items() if k != "recoveryEvidence"})
    asyncio.run(summarize.write(ctx, old, old.status))
    assert ctx.kube.bodies[1] == body


def test_progress_of_the_log_causes_no_write_of_the_main_status() -> None:
    """status.progress changes every second, under another field manager."""
    life = Life()
    life.start()
    ctx: Any = Ctx()
    progress = {"step": "DumpDatabase", "percent": 40, "bytesDone": 7, "updatedAt": at(5)}
    later = snapshot(None, {**life.snapshot.status.wire(), "progress": progress})
    asyncio.run(summarize.write(ctx, later, later.status))
    assert ctx.kube.bodies == []


def test_other_kinds_have_none() -> None:
    env = environment()
    status = summarize.outcome(env.status, Stalled(c.STORE_NOT_FOUND, "create it"), Stamp(at(0), 1))
    assert summarize.evidenced(env, status) is status
