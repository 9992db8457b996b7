"""recoveryEvidence: what a Snapshot or Rollback must prove, what it has proven, and what is missing. Pure.

:func:`derive` decides, for both kinds; :func:`of_snapshot` and :func:`of_rollback` collect what it needs from the
recorded status. The operator writes the result with every status (``summarize.py``); readers of objects without it call
:func:`of`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition
from ocore_crds.model import Model, StatusModel
from ocore_crds.reports.base import ASKED_STEPS, ROLLBACK_STEPS, SNAPSHOT_STEPS, Step
from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.resources.recovery_evidence import EvidenceProgress, RecoveryEvidence
from ocore_crds.resources.remote_copy import RemoteCopyState, state_of
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, UndoSpec
from ocore_crds.resources.snapshot import EvidenceStatus, SnapshotPart, SnapshotSpec, SnapshotStatus, StepStatus
from ocore_crds.text.quantity import counted, human
from ocore_crds.text.sentences import sentence, shortened

#: Characters of a failure's message; the whole message is in the conditions.
MESSAGE_CHARACTERS = 600
#: Names of lost files that are shown; all of them are in status.evidence.missing.
LOST_SHOWN = 3
#: Characters of the name of a lost file.
NAME_CHARACTERS = 100
#: The artifacts of a snapshot, with the step that stores each of them.
STEP_OF_PART: dict[SnapshotPart, Step] = {
    "Database": Step.DUMP_DATABASE,
    "Filestore": Step.COPY_FILESTORE,
    "Config": Step.CAPTURE_CONFIG,
}
ARTIFACT_OF_PART: dict[SnapshotPart, str] = {"Database": "database", "Filestore": "filestore", "Config": "config"}

Status = Literal["pending", "running", "completed", "failed"]


@dataclass(frozen=True)
class Proof:
    """Facts that prove one thing together. `sentence`: what they prove, for people."""

    sentence: str
    #: Fact → whether it is recorded.
    facts: Mapping[str, bool]


@dataclass(frozen=True)
class Recorded:
    """What one operation has recorded, of either kind."""

    operation: Literal["snapshot", "rollback"]
    status: Status
    reason: str
    #: Why it has not ended well, for people; empty for one that has.
    problem: str
    #: Step → state, in the operation's order.
    steps: Mapping[str, str]
    required: Sequence[str]
    #: Steps that block without having failed.
    blocking: Sequence[str] = ()
    #: Steps that failed without being in `steps`.
    failed: Sequence[str] = ()
    proofs: Sequence[Proof] = ()
    checksums: Mapping[str, str] | None = None
    paths: Mapping[str, str] | None = None
    remote: RemoteCopyState = "none"


def derive(recorded: Recorded) -> RecoveryEvidence:
    """The evidence of what was recorded. Nothing else decides whether an operation is a clean success."""
    required = tuple(dict.fromkeys(recorded.required))
    state = {name: recorded.steps.get(name, "Pending") for name in (*recorded.steps, *required)}
    done = tuple(name for name in required if state[name] == "Done" and name not in recorded.blocking)
    blocking = tuple(dict.fromkeys((*(n for n in required if state[n] == "Failed"), *recorded.blocking)))
    missing = tuple(n for n in required if n not in done and n not in blocking)
    failed = (*(n for n, s in state.items() if s == "Failed"), *recorded.failed)
    optional = tuple(n for n in dict.fromkeys(failed) if n not in required and n not in blocking)
    ended = Proof("The operation is Complete.", {"outcome: Complete": recorded.status == "completed"})
    proofs = (ended, *recorded.proofs)
    unproven = tuple(fact for proof in proofs for fact, found in proof.facts.items() if not found)
    clean = not (missing or blocking or unproven)
    green = (f"All {len(done)} required steps are done.", *(proof.sentence for proof in proofs))
    not_green = (
        *((shortened(recorded.problem, MESSAGE_CHARACTERS),) if recorded.problem else ()),
        *(f"Step {n} {'failed' if state.get(n) == 'Failed' else 'prevents a clean success'}." for n in blocking),
        *(f"Step {n} is not done ({state[n]})." for n in missing),
        *(f"Not recorded: {fact}." for fact in unproven),
    )
    return RecoveryEvidence(
        operation=recorded.operation,
        status=recorded.status,
        reason=recorded.reason,
        progress=EvidenceProgress(step=_current(state), done=len(done), required=len(required), steps=state),
        required_steps=required,
        missing_steps=missing,
        blocking_steps=blocking,
        optional_failed_steps=optional,
        missing_evidence=unproven,
        artifact_checksums=dict(recorded.checksums or {}),
        artifact_paths=dict(recorded.paths or {}),
        remote_copy_state=recorded.remote,
        can_write_clean_success=clean,
        why_green=green if clean else (),
        why_not_green=() if clean else not_green,
    )


def of(spec: Model, status: StatusModel) -> RecoveryEvidence | None:
    """The evidence of a Snapshot or Rollback; None for any other kind, and for a preview: it proves nothing."""
    if isinstance(spec, SnapshotSpec) and isinstance(status, SnapshotStatus):
        return of_snapshot(spec, status)
    if isinstance(spec, RollbackSpec) and isinstance(status, RollbackStatus) and not spec.dry_run:
        return of_rollback(spec, status)
    return None


def _current(state: Mapping[str, str]) -> str:
    """The running step, else the last one that ended."""
    running = [n for n, s in state.items() if s == "Running"]
    ended = [n for n, s in state.items() if s in ("Done", "Failed")]
    return (running[:1] or ended[-1:] or [""])[0]


# --- a Snapshot -------------------------------------------------------------------------------------------------------


def of_snapshot(spec: SnapshotSpec, status: SnapshotStatus) -> RecoveryEvidence:
    """The evidence of a Snapshot, from its status. What spec asks for is required: `verify: Full`, `quiesce`."""
    evidence = status.evidence or EvidenceStatus()
    parts = _parts(status, evidence)
    result, reason, problem = _outcome(status.phase, status.conditions)
    verified = c.find(status.conditions, c.VERIFIED)
    corrupt = status.phase == "Corrupt" or (verified is not None and verified.status == "False")
    required = [
        Step.PREPARE,
        *((Step.QUIESCE,) if spec.quiesce else ()),
        *(STEP_OF_PART[part] for part in parts),
        Step.PUBLISH,
        *((Step.VERIFY,) if spec.verify == "Full" else ()),
    ]
    steps = _snapshot_steps(spec, status, evidence, parts, corrupt=corrupt)
    return derive(
        Recorded(
            operation="snapshot",
            status=result,
            reason=reason,
            problem=problem,
            steps=steps,
            required=[step.value for step in required],
            blocking=(Step.VERIFY.value,) if corrupt else (),
            failed=_optional_failed(status),
            proofs=_proofs_of_snapshot(spec, status, evidence, parts),
            checksums=_known(evidence.checksums),
            paths=_known(evidence.paths),
            remote=state_of(status.remote),
        )
    )


#: Not a step of the snapshot: a restore that was tested later.
RESTORE_TEST = "RestoreTest"


def _optional_failed(status: SnapshotStatus) -> tuple[str, ...]:
    """What failed and is not required: the removal of leftovers, a test restore. Bytes that are wrong make the Snapshot
    Corrupt, which blocks."""
    tested = c.find(status.conditions, c.RESTORE_TESTED)
    failed = tested is not None and tested.status == "False"
    return (*((Step.CLEANUP.value,) if status.residue == "Unknown" else ()), *((RESTORE_TEST,) if failed else ()))


def _parts(status: SnapshotStatus, evidence: EvidenceStatus) -> tuple[SnapshotPart, ...]:
    """What had to be stored; everything, while that is unknown."""
    if status.parts is not None:
        return status.parts
    stored = tuple(part for part, artifact in ARTIFACT_OF_PART.items() if artifact in evidence.checksums)
    return stored if status.manifest_key is not None else tuple(ARTIFACT_OF_PART)


def _snapshot_steps(
    spec: SnapshotSpec,
    status: SnapshotStatus,
    evidence: EvidenceStatus,
    parts: Iterable[SnapshotPart],
    *,
    corrupt: bool,
) -> dict[str, str]:
    """Step → state, as reported. A manifest proves the steps before it, also where the Job's log was lost: it is
    written last."""
    reported = {s.name: s.state for s in status.steps}
    found: dict[str, str] = dict(reported)
    if status.manifest_key is not None:
        found |= {Step.PREPARE.value: "Done", Step.PUBLISH.value: "Done"}
        found |= {STEP_OF_PART[p].value: "Done" for p in parts if ARTIFACT_OF_PART[p] in evidence.checksums}
    if spec.quiesce:
        found[Step.QUIESCE.value] = _quiesced(status, evidence)
    if spec.verify == "Full" or corrupt:
        # The Job's own step is Done also where it read nothing back.
        read = c.is_true(status.conditions, c.VERIFIED)
        own = reported.get(Step.VERIFY.value, "Pending")
        found[Step.VERIFY.value] = (
            "Failed" if corrupt else "Done" if read else own if own in ("Running", "Failed") else "Pending"
        )
    order = (Step.PREPARE, Step.QUIESCE, *SNAPSHOT_STEPS[1:])
    return {step.value: found[step.value] for step in order if step.value in found}


def _restore_tested(status: SnapshotStatus) -> Iterator[Proof]:
    """A test restore that succeeded proves more than is required; without one nothing is missing."""
    tested, test = c.find(status.conditions, c.RESTORE_TESTED), status.restore_test
    if tested is not None and tested.status == "True" and test is not None:
        same = bool(test.manifest_sha256) and test.manifest_sha256 == status.manifest_sha256
        yield Proof(
            f"It was restored as a test at {test.tested_at}: {tested.message}",
            {"test restore: SHA-256 of the manifest": same},
        )


def _quiesced(status: SnapshotStatus, evidence: EvidenceStatus) -> str:
    """State of the quiesce. An adopted snapshot has only what its manifest says."""
    quiesce = status.quiesce
    if quiesce is None:
        return "Done" if any(line.startswith("quiesce:") for line in evidence.proven) else "Pending"
    if quiesce.failure_reason is not None:
        return "Failed"
    if quiesce.stage != "Done":
        return "Running"
    return "Done" if quiesce.stopped_at is not None and quiesce.resumed_at is not None else "Pending"


def _proofs_of_snapshot(
    spec: SnapshotSpec, status: SnapshotStatus, evidence: EvidenceStatus, parts: Iterable[SnapshotPart]
) -> tuple[Proof, ...]:
    digest, sizes = status.manifest_sha256, status.sizes or SnapshotSizes()
    ready = c.find(status.conditions, c.READY)
    manifest = {
        "manifest: key": status.manifest_key is not None,
        "manifest: SHA-256": digest is not None and evidence.checksums.get("manifest") == digest,
        "store: id": status.store_id is not None,
    }
    read = (
        "Every byte was read back and matched."
        if spec.verify == "Full"
        else "SHA-256 of every object was checked as it was written; the contents were not read back."
    )
    return (
        Proof("It can be restored.", {"outcome: Ready": ready is not None and ready.status == "True"}),
        Proof("The manifest was written last and read back; its key and SHA-256 are recorded.", manifest),
        Proof(f"It shows {status.consistent_at}.", {"snapshot: point in time": status.consistent_at is not None}),
        *(_proof_of_part(part, status, evidence, sizes) for part in parts),
        Proof(read, {"report: what was proven": bool(evidence.proven)}),
        *_lost(evidence.missing),
        *_incomplete(evidence.incomplete),
        *_restore_tested(status),
    )


def _proof_of_part(part: SnapshotPart, status: SnapshotStatus, evidence: EvidenceStatus, sizes: SnapshotSizes) -> Proof:
    name = ARTIFACT_OF_PART[part]
    facts = {f"{name}: SHA-256": name in evidence.checksums, f"{name}: path": name in evidence.paths}
    if part == "Database":
        facts["database: size"] = sizes.database_bytes > 0 and sizes.database_stored_bytes > 0
        facts["database: server version"] = status.server_version is not None
        text = (
            f"{human(sizes.database_bytes)}, {human(sizes.database_stored_bytes)} stored, of PostgreSQL"
            f" {status.server_version}"
        )
    elif part == "Filestore":
        # A new application has no file, but the index of its files is stored.
        facts["filestore: number and size of files"] = sizes.filestore_stored_bytes > 0
        text = (
            f"{counted(sizes.filestore_files, 'file')} of {human(sizes.filestore_bytes)},"
            f" {human(sizes.filestore_stored_bytes)} stored"
        )
    else:
        text = "every key"
    return Proof(f"{name}: {text}; SHA-256 and path are recorded.", facts)


# --- a Rollback -------------------------------------------------------------------------------------------------------


def of_rollback(spec: RollbackSpec, status: RollbackStatus) -> RecoveryEvidence:
    """The evidence of a Rollback, from its status. Cleanup is not required: it runs after the undo window. An undo
    restores nothing: it renames."""
    evidence = status.evidence or EvidenceStatus()
    result, reason, problem = _outcome(status.phase, status.conditions)
    has_database = status.target is None or status.target.database_secret_name is not None
    has_filestore = status.target is None or status.target.claim_name is not None
    optional = {
        Step.CLEANUP,
        *(() if has_database else (Step.RESTORE_DATABASE,)),
        *(() if has_filestore else (Step.RESTORE_FILESTORE,)),
        *((Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK) if spec.undo is not None else ()),
        *(() if status.neutralize is not None or spec.neutralize == "Always" else (Step.NEUTRALIZE,)),
    }
    reported = {s.name: s.state for s in status.steps}
    back = status.phase == "SwitchedBack" or status.switched_back_at is not None or Step.SWITCH_BACK.value in reported
    if result == "completed" and not status.switched_at:
        problem = "Nothing was done: a rollback of this name and specification had run before."
    elif result == "completed" and status.phase == "SwitchedBack":
        complete = c.find(status.conditions, c.COMPLETE)
        problem = sentence(f"{reason}: {complete.message if complete is not None else ''}")
    elif result == "completed" and back:
        problem = "It was switched back and forward again by hand. The workloads were not checked after that."
    return derive(
        Recorded(
            operation="rollback",
            status=result,
            reason=reason,
            problem=problem,
            steps=_in_order(status.steps),
            required=[step.value for step in rollback_steps(spec) if step not in optional],
            blocking=(Step.SWITCH_BACK.value,) if back else (),
            failed=(Step.CLEANUP.value,) if status.residue == "Unknown" else (),
            proofs=_proofs_of_rollback(spec, status, evidence, has_database=has_database),
            # An undo restores no manifest: what it returns to is older, or has changed since.
            checksums={"manifest": status.manifest_sha256} if status.manifest_sha256 and spec.undo is None else {},
            paths=_places(status),
            remote=status.remote_copy_state or "none",
        )
    )


def rollback_steps(spec: RollbackSpec | None) -> list[Step]:
    """The steps of a rollback in their order, with those that its spec asks for; None: with all."""
    asked = {
        Step.SAFETY_SNAPSHOT: spec is None or spec.create_safety_snapshot,
        Step.RESTORE_IMAGE: spec is None or spec.restore_image != "Never",
    }
    order = list(ROLLBACK_STEPS)
    for step, before in ASKED_STEPS.items():
        if asked[step]:
            order.insert(order.index(before) + 1, step)
    return order


def _in_order(steps: Iterable[StepStatus]) -> dict[str, str]:
    reported: dict[str, str] = {s.name: s.state for s in steps}
    order = [*(s.value for s in rollback_steps(None)[:-1]), Step.SWITCH_BACK.value, Step.CLEANUP.value]
    return {name: reported[name] for name in order if name in reported}


def _proofs_of_rollback(
    spec: RollbackSpec, status: RollbackStatus, evidence: EvidenceStatus, *, has_database: bool
) -> tuple[Proof, ...]:
    switch = {"switch: position New": status.position == "New", "switch: time": status.switched_at is not None}
    if has_database:
        switch["switch: live database"] = status.live_database is not None
    previous = status.previous_database is not None or bool(status.live_missing) or not has_database
    runs_on = "what was kept" if spec.undo is not None else "the snapshot"
    return (
        *(_proofs_of_undo(spec.undo, status) if spec.undo is not None else _proofs_of_restore(spec, status, evidence)),
        *_proofs_of_asked(spec, status),
        Proof(f"The environment has run on {runs_on} since {status.switched_at}.", switch),
        Proof(_way_back(status), {"switch: previous database": previous}),
        Proof(
            f"The workloads were ready at {status.ready_at}.",
            {"workloads: time when ready": status.ready_at is not None},
        ),
        Proof("The Environment remembers that it ran.", {"record: in status.executedRollbacks": bool(status.recorded)}),
        *_lost(evidence.missing),
    )


def _proofs_of_restore(spec: RollbackSpec, status: RollbackStatus, evidence: EvidenceStatus) -> tuple[Proof, ...]:
    manifest = {
        "snapshot: id": status.snapshot_id is not None,
        "snapshot: SHA-256 of its manifest": status.manifest_sha256 is not None,
    }
    return (
        Proof(f"Snapshot {status.snapshot_name} was restored from the manifest whose SHA-256 is recorded.", manifest),
        *_proofs_of_neutralize(spec, status),
        Proof("The restored copy was checked before the switch.", {"restore: what was proven": bool(evidence.proven)}),
    )


def _proofs_of_neutralize(spec: RollbackSpec, status: RollbackStatus) -> tuple[Proof, ...]:
    plan = status.neutralize
    if plan is None and spec.neutralize != "Always":
        return ()
    facts = {"neutralise: time of the proof": plan is not None and plan.proven_at is not None}
    if plan is None:
        return (Proof("", facts),)
    identity = "It has its own database.uuid, database.secret and base URL." if plan.own_identity else ""
    if not plan.required:
        return (Proof(identity, facts),)
    text = f"The copy was neutralised and asserted at {plan.proven_at}, before the switch."
    return (Proof(f"{text} {identity}".strip(), facts),)


def _proofs_of_asked(spec: RollbackSpec, status: RollbackStatus) -> tuple[Proof, ...]:
    """Of createSafetySnapshot and restoreImage."""
    found = []
    if spec.create_safety_snapshot:
        saved = {
            "safety snapshot: id": status.safety_snapshot_id is not None,
            "safety snapshot: point in time": status.safety_snapshot_at is not None,
        }
        text = (
            f"Snapshot {status.safety_snapshot_name} saved the environment before the switch; it shows"
            f" {status.safety_snapshot_at}."
        )
        found.append(Proof(text, saved))
    if spec.restore_image != "Never":
        reference = status.image.reference if status.image is not None else ""
        text = f"The workloads were ready with the image that the snapshot has recorded, {reference}."
        found.append(Proof(text, {"image: reference": bool(reference)}))
    return tuple(found)


def _proofs_of_undo(undo: UndoSpec, status: RollbackStatus) -> tuple[Proof, ...]:
    name = undo.rollback_ref.name
    return (
        Proof(
            f"Rollback {name} is undone: what it had kept is live again.",
            {"undo: id of the Rollback": status.undo is not None},
        ),
    )


def _way_back(status: RollbackStatus) -> str:
    """What became of the data from before."""
    if status.live_missing:
        return "There was no database before: there is nothing to go back to."
    name = f"Database {status.previous_database}" if status.previous_database else "The previous folder"
    if status.imported is not None:
        return f"Whether {name[0].lower()}{name[1:]} still exists is not recorded."
    if status.residue == "None":
        return f"{name} was removed after the undo window."
    if status.residue == "Unknown":
        return f"{name} could not be removed after the undo window."
    return f"{name} is kept until {status.undo_until}."


def _places(status: RollbackStatus) -> dict[str, str]:
    """Where the environment and what is kept beside it are."""
    found: dict[str, str | None] = {}
    if status.live_database and not (status.live_missing and status.position == "Old"):
        found["liveDatabase"] = status.live_database
    kept = status.residue != "None" and status.imported is None
    if kept and status.position == "New" and status.switched_at:
        found["previousDatabase"] = status.previous_database
    if kept and status.position == "Old" and (status.evidence or status.switched_at):
        found["restoredDatabase"] = status.restored_database
    if status.target is not None and status.target.claim_name is not None:
        found["filestore"] = f"{status.target.claim_name}/{status.target.path or ''}"
    return {name: value for name, value in found.items() if value}


# --- both -------------------------------------------------------------------------------------------------------------


def _outcome(phase: str | None, found: Sequence[Condition]) -> tuple[Status, str, str]:
    """Status, reason and, where it is not completed, the problem for people. A corrupt Snapshot has failed, though it
    was Complete: nothing can be restored from it. A Rollback that was switched back by hand did run, and stays
    completed."""
    ended = c.outcome(found)
    if ended == "Complete" and phase != "Corrupt":
        complete = c.find(found, c.COMPLETE)
        return "completed", complete.reason if complete is not None else "", ""
    if ended is not None:
        failure = c.find(found, c.FAILED if ended == "Failed" else c.STALLED)
        reason = failure.reason if failure is not None else str(phase)
        text = f": {failure.message}" if failure is not None and failure.message else "."
        return "failed", reason, sentence(f"{reason}{text}")
    waiting = c.find(found, c.STALLED) or c.find(found, c.RECONCILING)
    status: Status = "pending" if phase in (None, "Pending") else "running"
    text = f": {waiting.message}" if waiting is not None and waiting.message else "."
    return status, waiting.reason if waiting is not None else c.PENDING, sentence(f"Not terminal{text}")


def _lost(missing: Sequence[str]) -> tuple[Proof, ...]:
    """Files that were lost before the snapshot (missingFiles: Report): the snapshot is not what the database names."""
    if not missing:
        return ()
    names = ", ".join(shortened(name, NAME_CHARACTERS) for name in missing[:LOST_SHOWN])
    return (
        Proof(
            "", {f"filestore: lost files that the database names ({len(missing)} listed, for example {names})": False}
        ),
    )


def _incomplete(found: Sequence[str]) -> tuple[Proof, ...]:
    """What the snapshot lacks, or may lack, of the application's data."""
    facts = {f"everything of the application: {shortened(text, MESSAGE_CHARACTERS)}": False for text in found}
    return (Proof("", facts),) if facts else ()


def _known(values: Mapping[str, str]) -> dict[str, str]:
    """Those of the known artifacts: a newer mover may report others, and the status must not grow with them."""
    return {name: values[name] for name in ("manifest", *ARTIFACT_OF_PART.values()) if name in values}
