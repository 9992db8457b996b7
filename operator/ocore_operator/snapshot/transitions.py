"""Transitions of a Snapshot's status. Pure."""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.manifest import Evidence, Identity
from ocore_crds.protocol import SNAPSHOT_STEPS, SnapshotResult, VerifyResult
from ocore_crds.snapshot import EvidenceStatus, Progress, SnapshotSizes, SnapshotSource, SnapshotStatus, StepStatus
from ocore_operator import clock, summarize
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.jobs.inputs import JobInputs, image_tag
from ocore_operator.jobs.log import LogState
from ocore_operator.kube.resources import Environment, Snapshot


def queued(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The first status, before anything else is looked at."""
    status = summarize.running(
        snapshot.status,
        c.PENDING,
        "Waits for its turn.",
        now=clock.text(now),
        generation=snapshot.meta.generation,
    )
    return status.model_copy(update={"id": snapshot.id, "phase": "Pending", "queued_at": clock.text(now)})


def waiting(snapshot: Snapshot, end: Waiting, now: datetime) -> SnapshotStatus:
    """Something else comes first."""
    return summarize.outcome(snapshot.status, end, now=clock.text(now), generation=snapshot.meta.generation)


def started(snapshot: Snapshot, environment: Environment, job_inputs: JobInputs, now: datetime) -> SnapshotStatus:
    """It holds the environment: what it sees is frozen, and its time runs."""
    status = summarize.running(
        snapshot.status,
        c.RUNNING,
        "The snapshot begins.",
        now=clock.text(now),
        generation=snapshot.meta.generation,
    )
    source = SnapshotSource(
        environment_id=environment.id,
        environment_name=environment.meta.name,
        environment_type=environment.spec.type,
        project_id=environment.spec.project_id,
        image=job_inputs.image,
        image_tag=image_tag(job_inputs.image),
        commit_sha=job_inputs.commit,
        deployment_id=snapshot.spec.deployment_id or "",
    )
    return status.model_copy(
        update={
            "phase": "Running",
            "started_at": clock.text(now),
            "deadline": clock.text(clock.after(now, snapshot.spec.timeout_seconds)),
            # Attempt 0 only looks whether the store has this id already.
            "attempt": 1 if snapshot.spec.id is None else 0,
            "job_name": None,
            "source": source,
            "store_name": job_inputs.store.meta.name,
            "store_id": job_inputs.store.status.store_id,
        }
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
            "commit_sha": source.commit_sha,
        }
    )


def under_way(
    snapshot: Snapshot, reason: str, message: str, job: str, log: LogState | None, now: datetime
) -> SnapshotStatus:
    """An attempt runs: its Job's name, and the steps that its log has told of."""
    status = summarize.running(
        snapshot.status, reason, message, now=clock.text(now), generation=snapshot.meta.generation
    )
    update: dict[str, object] = {"job_name": job or status.job_name}
    if log is not None and log.steps:
        update["steps"] = log.step_statuses(SNAPSHOT_STEPS)
    return status.model_copy(update=update)


def next_attempt(snapshot: Snapshot, attempt: int, message: str, now: datetime) -> SnapshotStatus:
    """Another attempt begins."""
    status = summarize.running(
        snapshot.status, c.RUNNING, message, now=clock.text(now), generation=snapshot.meta.generation
    )
    return status.model_copy(update={"attempt": attempt, "job_name": None, "steps": ()})


def completed(
    snapshot: Snapshot, result: SnapshotResult, log: LogState | None, *, clean: bool, imported: bool, now: datetime
) -> SnapshotStatus:
    """The manifest is in the store: everything that it says."""
    text, generation = clock.text(now), snapshot.meta.generation
    status = snapshot.status.model_copy(
        update={
            "consistent_at": result.consistent_at,
            "store_id": result.store_id,
            "manifest_key": result.manifest_key,
            "manifest_sha256": result.manifest_sha256,
            "server_version": result.server_version or None,
            "server_major": result.server_major or None,
            "client_version": result.client_version or None,
            "sizes": _sizes(result),
            "evidence": EvidenceStatus.of(result.evidence, result.checksums, result.paths),
            "source": _source(result.identity) if imported and result.identity else snapshot.status.source,
            "steps": _final_steps(snapshot, log, imported),
            "residue": "None" if clean else "Pending",
            "progress": snapshot.status.progress or _progress(result, text),
        }
    )
    if result.read_back:
        words = "Every byte was read back and matched."
        status = summarize.with_condition(
            status, c.VERIFIED, "True", c.SUCCEEDED, words, now=text, generation=generation
        )
    else:
        words = "The store has checked every artifact's SHA-256 as it was written; nobody has read it back. Set spec.verify to Full for that."
        status = summarize.with_condition(
            status, c.VERIFIED, "Unknown", c.CHECKSUMS_ONLY, words, now=text, generation=generation
        )
    how = "Found in the store and taken over." if imported else "Restorable."
    return summarize.complete(status, c.SUCCEEDED, how, now=text, generation=generation)


def _source(found: Identity) -> SnapshotSource:
    """What a snapshot that lay in the store saw when it was taken, whatever the Environment is by now."""
    return SnapshotSource(**{name: getattr(found, name) for name in SnapshotSource.model_fields})


def failed(snapshot: Snapshot, end: Failed, *, stored: bool, now: datetime) -> SnapshotStatus:
    """It has failed; `stored`: something of it may be in the store."""
    text = clock.text(now)
    status = summarize.outcome(snapshot.status, end, now=text, generation=snapshot.meta.generation)
    steps = tuple(
        s.model_copy(update={"state": "Failed", "completed_at": text}) if s.state == "Running" else s
        for s in status.steps
    )
    update = {"id": snapshot.id, "residue": "Pending" if stored else "None", "steps": steps}
    return status.model_copy(update=update)


def verified(snapshot: Snapshot, result: VerifyResult, now: datetime) -> SnapshotStatus:
    """Every byte was read again and matched."""
    text, generation = clock.text(now), snapshot.meta.generation
    words = f"{result.objects} objects, {result.bytes_read} bytes were read back and matched."
    status = summarize.with_condition(
        snapshot.status, c.VERIFIED, "True", c.SUCCEEDED, words, now=text, generation=generation
    )
    return summarize.ready(status, c.SUCCEEDED, "Restorable.", now=text, generation=generation)


def corrupt(snapshot: Snapshot, message: str, now: datetime) -> SnapshotStatus:
    """Stored bytes differ: nobody may restore it."""
    text, generation = clock.text(now), snapshot.meta.generation
    status = summarize.with_condition(
        snapshot.status, c.VERIFIED, "False", c.CORRUPT, message, now=text, generation=generation
    )
    return summarize.outcome(status, Stalled(c.CORRUPT, message), now=text, generation=generation)


def unverified(snapshot: Snapshot, reason: str, message: str, now: datetime) -> SnapshotStatus:
    """It could not be read back, which says nothing against it."""
    text, generation = clock.text(now), snapshot.meta.generation
    status = summarize.with_condition(
        snapshot.status, c.VERIFIED, "Unknown", reason, message, now=text, generation=generation
    )
    return status.model_copy(update={"observed_generation": generation})


def _sizes(result: SnapshotResult) -> SnapshotSizes:
    return SnapshotSizes(
        database_bytes=result.database_bytes,
        database_stored_bytes=result.database_stored_bytes,
        database_restore_bytes=result.database_restore_bytes,
        filestore_bytes=result.filestore_bytes,
        filestore_files=result.filestore_files,
        filestore_stored_bytes=result.filestore_stored_bytes,
        stored_bytes=result.stored_bytes,
    )


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
    """As its log told; a manifest that is there proves all steps before it, whatever the log has lost."""
    steps = log.step_statuses(SNAPSHOT_STEPS) if log is not None and log.steps else snapshot.status.steps
    if imported:
        return ()
    return tuple(s.model_copy(update={"state": "Done"}) if s.state in ("Running", "Failed") else s for s in steps)


def full_evidence(result: SnapshotResult, log: LogState | None) -> SnapshotResult:
    """The result with what the termination message had no room for, from the log's last line."""
    if result.evidence != Evidence() or log is None or log.result is None:
        return result
    payload = log.result.payload
    if isinstance(payload, SnapshotResult) and payload.manifest_sha256 == result.manifest_sha256:
        return payload
    return result
