"""The statuses of an Extract. Pure."""

from ocore_crds import conditions as c
from ocore_crds.naming import restored_schema
from ocore_crds.protocol import EXTRACT_STEPS, ExtractRemoved, ExtractResult
from ocore_crds.reports.extracted import TABLE_CONTENTS, Extracted
from ocore_crds.resources.extract import ExtractStatus
from ocore_crds.resources.snapshot import StepStatus
from ocore_crds.text.quantity import human
from ocore_operator import clock, encryption, summarize
from ocore_operator.errors import Failed
from ocore_operator.extract.world import World
from ocore_operator.frame.actions import Wait
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube.resources import Snapshot, Store
from ocore_operator.summarize import Stamp


def _stamp(world: World) -> Stamp:
    return Stamp.of(world.extract.meta, world.now)


def queued(world: World) -> ExtractStatus:
    """First observed."""
    update = {"id": world.extract.id, "phase": "Pending", "queued_at": clock.text(world.now)}
    fresh = world.extract.status.model_copy(update=update)
    return summarize.running(fresh, c.PENDING, "The Extract was observed.", _stamp(world))


def named(world: World, snapshot: Snapshot) -> ExtractStatus:
    """With the Environment whose lock it waits for."""
    source = snapshot.status.source
    update = {
        "environment_name": snapshot.spec.environment_ref.name,
        "environment_id": source.environment_id if source is not None else None,
        "contents": TABLE_CONTENTS if world.of_tables else None,
    }
    return world.extract.status.model_copy(update=update)


def started(world: World, snapshot: Snapshot, store: Store) -> ExtractStatus:
    """Before the first Job: from now on something may remain to be removed."""
    extract, filestore = world.extract, world.environment.spec.filestore if world.environment is not None else None
    named = extract.spec.identity_secret_ref
    opens = encryption.identity_for(snapshot, None, extract.meta.namespace) if named is None else None
    update = {
        "phase": "Running",
        "started_at": clock.exact(world.now),
        "deadline": clock.text(clock.after(world.now, extract.spec.timeout_seconds)),
        "snapshot_id": snapshot.id,
        "manifest_sha256": snapshot.status.manifest_sha256,
        "encrypted": snapshot.status.encryption is not None,
        "job_identity_secret": opens.name if opens is not None else None,
        "store_name": store.meta.name,
        "store_id": store.status.store_id,
        "claim_name": filestore.claim_name if filestore is not None and world.into_claim else None,
        "attempt": 1,
        "residue": "Pending",
        "steps": tuple(StepStatus(name=s.value, state="Pending") for s in EXTRACT_STEPS),
    }
    text = f"Reading snapshot {snapshot.meta.name}."
    return summarize.running(extract.status.model_copy(update=update), c.RUNNING, text, _stamp(world))


def next_attempt(world: World, because: str) -> ExtractStatus:
    """After an attempt that failed."""
    attempt = world.extract.status.attempt + 1
    fresh = world.extract.status.model_copy(update={"attempt": attempt})
    text = f"Attempt {attempt} begins. The previous attempt failed: {because}"
    return summarize.running(fresh, c.RUNNING, text, _stamp(world))


def waiting(world: World, wait: Wait, log: LogState | None) -> ExtractStatus:
    """It waits for that."""
    status = world.extract.status
    if log is not None and log.steps:
        status = status.model_copy(update={"steps": log.step_statuses(EXTRACT_STEPS)})
    return summarize.running(status, wait.reason, wait.message, _stamp(world))


def completed(world: World, found: ExtractResult) -> ExtractStatus:
    """The end of one that succeeded."""
    result = found.extracted.model_copy(update={"checked": found.checked})
    expires = clock.text(clock.after(world.now, world.extract.spec.expires_after_seconds))
    steps = tuple(s.model_copy(update={"state": "Done"}) for s in world.extract.status.steps)
    update = {"result": result, "tables": found.tables, "result_expires_at": expires, "steps": steps}
    status = world.extract.status.model_copy(update=update)
    return summarize.complete(status, c.SUCCEEDED, f"{_text(result)} It is removed at {expires}.", _stamp(world))


def _text(result: Extracted) -> str:
    where = f"in the folder {result.folder} on the claim" if result.folder is not None else f"in {result.key}"
    if result.schema_name is not None:
        where = f"in the schema {result.schema_name} of the live database"
    rows = f" with {result.rows} rows" if result.rows else ""
    text = f"{result.files} files of {human(result.bytes)}{rows} are {where}; {human(result.bytes_read)} were read."
    if not result.missing:
        return text
    return f"{text} Of {result.missing} attachments the snapshot has no file: {', '.join(result.missing_names)}."


def failed(world: World, reason: str, message: str) -> ExtractStatus:
    """The end of one that failed."""
    return summarize.outcome(world.extract.status, Failed(reason, message), _stamp(world))


def removed(world: World, found: ExtractRemoved) -> ExtractStatus:
    """Nothing remains that could be removed."""
    status = world.extract.status.model_copy(update={"residue": "None", "removal_message": None})
    if status.phase != "Complete":
        return status
    return summarize.ready(
        status.model_copy(update={"phase": "Expired"}), c.EXPIRED, _removed_text(world, found), _stamp(world)
    )


def _removed_text(world: World, found: ExtractRemoved) -> str:
    claim = world.extract.spec.target.claim
    if claim is not None:
        if found.folder:
            return f"The folder {claim.path} is removed."
        return f"The claim has no folder {claim.path} with the marker of this Extract, so nothing was removed."
    if world.into_database:
        schema = restored_schema(world.extract.id)
        if found.schema_dropped:
            return f"The schema {schema} is dropped."
        return f"The Environment's database now has no schema {schema} of this Extract, so nothing was dropped."
    if found.kept is None:
        return "The result is removed."
    number = f"{found.kept.versions} versions" if found.kept.versions is not None else "versions"
    until = f" until {found.kept.until}" if found.kept.until is not None else ""
    return f"The result is removed from the list of objects, but the store keeps {number} of it{until}."


def not_removed(world: World, message: str, pause: float, *, last: bool) -> ExtractStatus:
    """A removal that failed. `last`: none follows."""
    update = {
        "removal_message": message,
        "removal_attempt": world.extract.status.removal_attempt + (0 if last else 1),
        "removal_after": clock.text(clock.after(world.now, pause)),
        "residue": "Unknown" if last else "Pending",
    }
    return world.extract.status.model_copy(update=update)


def first_removal(world: World) -> ExtractStatus:
    """Before the first removal Job."""
    return world.extract.status.model_copy(update={"removal_attempt": 1})
