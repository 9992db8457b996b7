"""Transitions of a Snapshot's status. Pure: each returns a new status."""

from datetime import datetime
from typing import get_args

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import SNAPSHOT_STEPS, SnapshotResult, VerifyResult
from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.resources.encryption import SnapshotEncryption, effective
from ocore_crds.resources.read_back import ReadBack
from ocore_crds.resources.signing import Predecessor, place_after
from ocore_crds.resources.snapshot import (
    EvidenceStatus,
    Progress,
    QuiesceStatus,
    SnapshotBase,
    SnapshotFilestore,
    SnapshotPart,
    SnapshotSource,
    SnapshotStatus,
    StepStatus,
)
from ocore_crds.resources.workloads import targets
from ocore_crds.rules.evidence import ARTIFACT_OF_PART
from ocore_crds.stored.manifest import Evidence, Identity
from ocore_crds.text.sentences import sentence
from ocore_operator import clock, damage, summarize
from ocore_operator.entries.differentials import Full
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.frame.actions import Wait
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube.resources import Environment, Snapshot, project_of
from ocore_operator.summarize import Stamp
from ocore_operator.workloads import images


def queued(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The first status, before anything else is read."""
    status = summarize.running(
        snapshot.status, c.PENDING, "The Snapshot was accepted and waits to start.", Stamp.of(snapshot.meta, now)
    )
    return status.model_copy(update={"id": snapshot.id, "phase": "Pending", "queued_at": clock.exact(now)})


def started(
    snapshot: Snapshot,
    environment: Environment,
    job_inputs: JobInputs,
    now: datetime,
    *,
    image_digest: str = "",
    previous: Predecessor | None = None,
) -> SnapshotStatus:
    """It holds the operation lock: what it sees is frozen, and the deadline is set. `previous`: the environment's
    newest signed snapshot."""
    status = summarize.running(snapshot.status, c.RUNNING, "The snapshot has started.", Stamp.of(snapshot.meta, now))
    signing = job_inputs.store.spec.signing
    signs = signing is not None and signing.secret_ref is not None
    source = SnapshotSource(
        environment_id=environment.id,
        environment_name=environment.meta.name,
        environment_type=environment.spec.type,
        project_id=project_of(environment),
        image=job_inputs.image,
        image_tag=images.parse(job_inputs.image).tag,
        image_digest=image_digest,
        commit_sha=job_inputs.commit,
        config_sha256=job_inputs.config_sha256,
        deployment_id=snapshot.spec.deployment_id or "",
    )
    return status.model_copy(
        update={
            "phase": "Running",
            "started_at": clock.exact(now),
            "deadline": clock.text(clock.after(now, snapshot.spec.timeout_seconds)),
            # Attempt 0 only checks whether the store already holds this id.
            "attempt": 1 if snapshot.spec.id is None else 0,
            "job_name": None,
            "source": source,
            "parts": _parts(environment),
            "store_name": job_inputs.store.meta.name,
            "store_id": job_inputs.store.status.store_id,
            "encryption": _encryption(snapshot, environment, job_inputs),
            "signature": place_after(previous) if signs else None,
            "filestore": _filestore(environment),
        }
    )


def _encryption(snapshot: Snapshot, environment: Environment, job_inputs: JobInputs) -> SnapshotEncryption | None:
    found = effective(environment.spec.encryption, job_inputs.store.spec.encryption)
    if found is None:
        return None
    secret = naming.job_identity_secret(snapshot.meta.uid) if found.mode == "Current" else None
    return SnapshotEncryption(recipients=found.recipients, job_identity_secret=secret)


def _filestore(environment: Environment) -> SnapshotFilestore | None:
    found = environment.spec.filestore
    if found is None:
        return None
    return SnapshotFilestore(claim_name=found.claim_name, path=found.path, layout=found.layout)


def with_base(snapshot: Snapshot, chosen: Full | None) -> SnapshotStatus:
    """It is decided what of the filestore is stored: all of it, or what the chosen full Snapshot does not have."""
    base = SnapshotBase(name=chosen.name, id=chosen.id) if chosen is not None else None
    return snapshot.status.model_copy(update={"base": base, "full_filestore": chosen is None})


def without_base(snapshot: Snapshot) -> SnapshotStatus:
    """The chosen full Snapshot cannot be used any more: another one is chosen."""
    return snapshot.status.model_copy(update={"base": None, "full_filestore": None})


def no_base(snapshot: Snapshot) -> str:
    """Why a differential that was asked for is a full one, for people."""
    encryption = snapshot.status.encryption
    if encryption is not None and encryption.job_identity_secret is None:
        return "The whole filestore is stored: an encrypted snapshot in mode Sealed is a full one."
    opened = " that its Job can open" if encryption is not None else ""
    return (
        f"The whole filestore is stored: environment {snapshot.spec.environment_ref.name} has no full snapshot of the"
        f" same filestore in the same store that is Complete, not corrupt and not being deleted{opened}."
    )


def identity(snapshot: Snapshot) -> Identity:
    """What is written into the manifest: the frozen source. The Snapshot has started."""
    source = snapshot.status.source
    if source is None:
        raise ValueError(f"{snapshot.key} has not started")
    return Identity.model_validate(
        {
            "environment_id": source.environment_id,
            "environment_name": source.environment_name,
            "environment_type": source.environment_type,
            "project_id": source.project_id,
            "namespace": snapshot.meta.namespace,
            "snapshot_id": snapshot.id,
            "snapshot_name": snapshot.meta.name,
            "trigger": snapshot.spec.trigger,
            "requested_by": snapshot.spec.requested_by,
            "deployment_id": source.deployment_id,
            "image": source.image,
            "image_tag": source.image_tag,
            "image_digest": source.image_digest,
            "commit_sha": source.commit_sha,
            "config_sha256": source.config_sha256,
        }
    )


def waiting(snapshot: Snapshot, now: datetime, wait: Wait, log: LogState | None) -> SnapshotStatus:
    """Before the start or during an attempt: what it waits for, its Job's name, and the steps that its log has
    reported."""
    end = Stalled(wait.reason, wait.message) if wait.stalled else Waiting(wait.reason, wait.message, 0)
    status = summarize.outcome(snapshot.status, end, Stamp.of(snapshot.meta, now))
    update: dict[str, object] = {"job_name": wait.job or status.job_name}
    if log is not None and log.steps:
        update["steps"] = log.step_statuses(SNAPSHOT_STEPS)
    return status.model_copy(update=update)


def next_attempt(snapshot: Snapshot, attempt: int, message: str, now: datetime) -> SnapshotStatus:
    """Another attempt begins."""
    status = summarize.running(snapshot.status, c.RUNNING, message, Stamp.of(snapshot.meta, now))
    return status.model_copy(update={"attempt": attempt, "job_name": None, "steps": ()})


def completed(
    snapshot: Snapshot,
    result: SnapshotResult,
    log: LogState | None,
    *,
    clean: bool,
    imported: bool,
    now: datetime,
    base_name: str | None = None,
) -> SnapshotStatus:
    """The manifest is in the store: its contents become the status. `base_name`: of the full Snapshot that the result
    names, where it is known."""
    stamp = Stamp.of(snapshot.meta, now)
    evidence = EvidenceStatus.of(result.evidence, result.checksums, result.paths)
    quiesce = snapshot.status.quiesce
    if quiesce is not None and quiesce.stopped_at is not None:
        evidence = evidence.model_copy(update={"proven": (*evidence.proven, stopped_for(quiesce))})
    base = _base(snapshot, result, base_name)
    if base is None and snapshot.status.base is None and _was_asked(snapshot) and not imported:
        evidence = evidence.model_copy(update={"warnings": (*evidence.warnings, no_base(snapshot))})
    status = snapshot.status.model_copy(
        update={
            "base": base,
            "full_filestore": base is None,
            "consistent_at": result.consistent_at,
            # An adopted one may be a copy: its manifest names the store that it was written to first.
            "store_id": (imported and snapshot.status.store_id) or result.store_id,
            "manifest_key": result.manifest_key,
            "manifest_sha256": result.manifest_sha256,
            "encryption": _encryption_stored(snapshot, result, imported=imported),
            "signature": result.signature,
            "server_version": result.server_version or None,
            "server_major": result.server_major or None,
            "client_version": result.client_version or None,
            "sizes": SnapshotSizes(**result.model_dump(include=set(SnapshotSizes.model_fields))),
            "neutralized": result.neutralized,
            "unfinished_modules": result.unfinished_modules or None,
            "stored_state": result.state,
            "evidence": evidence,
            "source": _source(result.identity) if imported and result.identity else snapshot.status.source,
            "parts": _parts_stored(result) if imported else snapshot.status.parts,
            "steps": _final_steps(snapshot, log, imported),
            "residue": "None" if clean else "Pending",
            "progress": _progress(result, stamp.now),
            # One that was adopted is as old as its data, for people and for
            # ocore_snapshot_last_success_timestamp_seconds.
            **({"started_at": result.started_at, "completed_at": result.completed_at} if imported else {}),
        }
    )
    status = _with_verified(status, stamp, read_back=result.read_back)
    if evidence.incomplete:
        status = summarize.with_condition(
            status, c.INCOMPLETE, "True", c.FILES_NOT_INCLUDED, " ".join(map(sentence, evidence.incomplete)), stamp
        )
    how = "Found in the store and adopted. Restorable." if imported else "Restorable."
    return summarize.complete(status, c.SUCCEEDED, how, stamp)


def _encryption_stored(snapshot: Snapshot, result: SnapshotResult, *, imported: bool) -> SnapshotEncryption | None:
    """What the manifest says. The Job identity that was made for it is kept until :mod:`.job_identities` ends it."""
    made = snapshot.status.encryption if not imported else None
    secret = made.job_identity_secret if made is not None else None
    found = result.encryption
    return SnapshotEncryption(**dict(found), job_identity_secret=secret) if found is not None else None


def _with_verified(status: SnapshotStatus, stamp: Stamp, *, read_back: bool) -> SnapshotStatus:
    if read_back:
        message = "Every byte was read back and matched."
        return summarize.with_condition(status, c.VERIFIED, "True", c.SUCCEEDED, message, stamp)
    message = (
        "The store checked every artifact's SHA-256 as it was written. Its contents have not been read back. "
        "Set spec.verify to Full to do that."
    )
    return summarize.with_condition(status, c.VERIFIED, "Unknown", c.CHECKSUMS_ONLY, message, stamp)


def _base(snapshot: Snapshot, result: SnapshotResult, base_name: str | None) -> SnapshotBase | None:
    """What the manifest says. The mover stores the whole filestore where the chosen full Snapshot turns out to be of no
    use."""
    if not result.base_snapshot_id:
        return None
    chosen = snapshot.status.base
    if chosen is not None and chosen.id == result.base_snapshot_id:
        return chosen
    return SnapshotBase(name=base_name, id=result.base_snapshot_id)


def _was_asked(snapshot: Snapshot) -> bool:
    return snapshot.spec.filestore_mode == "Differential" and snapshot.status.filestore is not None


def stopped_for(quiesce: QuiesceStatus) -> str:
    """How long which workloads were stopped, for the evidence."""
    names = ", ".join(
        f"{t.kind} {t.name}" + ("" if t.is_cron_job else f" ({w.replicas} replicas)")
        for t, w in zip(targets(quiesce.workloads), quiesce.workloads, strict=True)
    )
    since = quiesce.stopped_at or quiesce.entered_at
    seconds = clock.seconds_since(since, clock.parse(quiesce.resumed_at or quiesce.entered_at))
    return f"quiesce: {names} stopped at {since} for {seconds:.0f} s"


def _parts(environment: Environment) -> tuple[SnapshotPart, ...]:
    """What the Environment asks to store. Recorded at the start: a part that its spec loses before the Job is built is
    missing evidence."""
    spec = environment.spec
    wanted = {"Database": spec.database, "Filestore": spec.filestore, "Config": spec.config}
    return tuple(part for part in get_args(SnapshotPart) if wanted[part] is not None)


def _parts_stored(result: SnapshotResult) -> tuple[SnapshotPart, ...]:
    """What the manifest of an adopted snapshot names: the Environment may store something else now."""
    return tuple(part for part, artifact in ARTIFACT_OF_PART.items() if artifact in result.checksums)


def _source(found: Identity) -> SnapshotSource:
    """What a snapshot found in the store saw when it was taken. The Environment may have changed since."""
    return SnapshotSource(**{name: getattr(found, name) for name in SnapshotSource.model_fields})


def failed(snapshot: Snapshot, end: Failed, *, stored: bool, now: datetime) -> SnapshotStatus:
    """It has failed. `stored`: the store may hold parts of it."""
    text = clock.text(now)
    status = summarize.outcome(snapshot.status, end, Stamp.of(snapshot.meta, now))
    steps = tuple(
        s.model_copy(update={"state": "Failed", "completed_at": text}) if s.state == "Running" else s
        for s in status.steps
    )
    update = {"id": snapshot.id, "residue": "Pending" if stored else "None", "steps": steps}
    return status.model_copy(update=update)


def verified(snapshot: Snapshot, result: VerifyResult, now: datetime) -> SnapshotStatus:
    """Every byte was read again and matched."""
    stamp = Stamp.of(snapshot.meta, now)
    matched = f"{result.objects} objects, {result.bytes_read} bytes were read back and matched."
    message = " ".join((matched, *result.evidence.warnings))
    status = summarize.with_condition(snapshot.status, c.VERIFIED, "True", c.SUCCEEDED, message, stamp)
    ready = summarize.ready(status, c.SUCCEEDED, "Restorable.", stamp)
    return ready.model_copy(update={"phase": "Complete"})


def of_corrupt_base(snapshot: Snapshot, base: str, now: datetime) -> SnapshotStatus:
    """The full Snapshot that it needs is corrupt: it must not be restored either."""
    stamp = Stamp.of(snapshot.meta, now)
    message = (
        f"Snapshot {base}, the full one that this differential needs, is corrupt. Use another snapshot, and take a new"
        " full one."
    )
    status = summarize.with_condition(snapshot.status, c.VERIFIED, "False", c.BASE_CORRUPT, message, stamp)
    return summarize.outcome(status, Stalled(c.BASE_CORRUPT, message), stamp).model_copy(update={"phase": "Corrupt"})


def of_whole_base(snapshot: Snapshot, base: str, attempt: int, now: datetime) -> SnapshotStatus:
    """The full Snapshot that it needs is whole again, so this one can be restored. With `verify: Full` it is read
    again, by a Job of that number or a later one."""
    text = f"Snapshot {base}, the full one that this differential needs, is whole again."
    status = damage.read_whole(snapshot, now, text)
    if snapshot.spec.verify != "Full":
        return status
    answered = snapshot.status.read_back.run if snapshot.status.read_back is not None else ""
    return status.model_copy(update={"read_back": ReadBack(run=answered, attempt=attempt)})


def unverified(snapshot: Snapshot, reason: str, message: str, now: datetime) -> SnapshotStatus:
    """It has not been read back yet. The condition Verified is Unknown, with the reason."""
    stamp = Stamp.of(snapshot.meta, now)
    status = summarize.with_condition(snapshot.status, c.VERIFIED, "Unknown", reason, message, stamp)
    return status.model_copy(update={"observed_generation": snapshot.meta.generation})


def _progress(result: SnapshotResult, now: str) -> Progress:
    return Progress(
        step=SNAPSHOT_STEPS[-1].value,
        bytes_done=result.stored_bytes,
        bytes_total=result.stored_bytes,
        files_done=result.filestore_files,
        files_total=result.filestore_files,
        percent=100,
        updated_at=now,
    )


def _final_steps(snapshot: Snapshot, log: LogState | None, imported: bool) -> tuple[StepStatus, ...]:
    """As its log reported. A manifest proves all steps before it, even where the log has lost lines."""
    steps = log.step_statuses(SNAPSHOT_STEPS) if log is not None and log.steps else snapshot.status.steps
    if imported:
        return ()
    return tuple(s.model_copy(update={"state": "Done"}) if s.state in ("Running", "Failed") else s for s in steps)


def full_evidence(result: SnapshotResult, log: LogState | None) -> SnapshotResult:
    """The result with the evidence and the paths that did not fit into the termination message, from the log's last
    line."""
    whole = result.evidence != Evidence() and result.paths
    if whole or log is None or log.result is None:
        return result
    payload = log.result.payload
    if isinstance(payload, SnapshotResult) and payload.manifest_sha256 == result.manifest_sha256:
        return payload
    return result
