"""Decisions of an import: what belongs here, the Snapshot that is made of a manifest, the steps from page to page.
Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.table import LIST_MANIFESTS
from ocore_crds.kinds import SNAPSHOT
from ocore_crds.model import NAME_PATTERN, UUID_PATTERN
from ocore_crds.reports.store_listing import StoredSnapshot
from ocore_crds.reports.stored_contents import ManifestsResult
from ocore_crds.resources.snapshot import ImportedStatus, SnapshotSpec, SnapshotStatus
from ocore_crds.resources.snapshotstore import ImportedRollbacks, ImportStatus, SnapshotStoreStatus
from ocore_crds.stored.manifest import Identity
from ocore_crds.stored.snapshot_state import StoredState
from ocore_crds.text.sentences import shortened
from ocore_operator import clock, summarize
from ocore_operator.jobs.observing.attempts import Series
from ocore_operator.kube.resources import Environment, Object, Snapshot, Store, project_of
from ocore_operator.snapshot import transitions
from ocore_operator.summarize import Stamp

#: Names in `skippedExamples`.
EXAMPLES = 10
#: Pages of one import at most: what a store offers is not trusted.
MAX_PAGES = 500
#: Seconds after which an import that failed, or that found snapshots without all of their objects, is repeated.
AGAIN = 3600.0
TRIGGERS = get_args(SnapshotSpec.model_fields["trigger"].annotation)


@dataclass(frozen=True)
class Place:
    """An Environment of the namespace that snapshots may belong to."""

    name: str
    project_id: str


def places(environments: Iterable[Environment]) -> dict[str, Place]:
    """By environment id."""
    return {e.id: Place(e.meta.name, project_of(e)) for e in environments if e.meta.deleted is None}


def scope(found: Mapping[str, Place], store_id: str, *, hidden: bool = False) -> str:
    """Changes with what an import would find because of the namespace: its environments, and the store itself.
    `hidden`: spec.importHidden."""
    lines = sorted(f"{id_} {place.project_id}" for id_, place in found.items())
    text = "\n".join([store_id, *(("hidden",) if hidden else ()), *lines])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_due(store: Store, wanted: str, now: datetime) -> bool:
    """Whether another import begins. `wanted`: the present scope."""
    last = store.status.import_
    if last is None:
        return True
    if last.state == "Running":
        return False
    if last.scope != wanted or clock.asked(
        store.meta.annotations.get(naming.ANNOTATION_IMPORT_REQUESTED, ""), last.started_at, now
    ):
        return True
    return (last.state == "Failed" or last.incomplete > 0) and clock.seconds_since(
        last.finished_at or last.started_at, now
    ) >= AGAIN


def begun(wanted: str, now: datetime) -> ImportStatus:
    """A new import."""
    return ImportStatus(
        state="Running", started_at=clock.text(now), scope=wanted, message="A Job lists the snapshots of the store."
    )


def listing(store: Store, running: ImportStatus) -> Series[ManifestsResult]:
    """The Jobs that list a page. Their names are the same after a restart, and different for each page."""
    text = f"{running.started_at} {running.round} {running.page}"
    prefix = f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-"
    return Series(LIST_MANIFESTS, store.meta.uid, ManifestsResult, "The Job that lists a page", prefix)


# --- one snapshot --------------------------------------------------------------------------------------------------


def belongs(entry: StoredSnapshot, found: Mapping[str, Place]) -> Place | None:
    """The Environment of the namespace that the snapshot is of: the same id and the same project; None: none. The Job
    has checked both already."""
    identity = entry.result.identity
    place = found.get(identity.environment_id) if identity is not None else None
    if identity is None or place is None or place.project_id != identity.project_id:
        return None
    own = naming.manifest_key(identity.environment_id, identity.snapshot_id)
    return place if entry.result.manifest_key == own else None


def names(identity: Identity) -> tuple[str, ...]:
    """Names for the Snapshot, the best one first."""
    recorded = identity.snapshot_name
    fits = len(recorded) <= 253 and re.fullmatch(NAME_PATTERN, recorded) is not None
    return (*((recorded,) if fits else ()), f"imported-{identity.snapshot_id}")


def body(store: Store, identity: Identity, environment: str, name: str) -> Object:
    """The Snapshot to create: kept and retained, whatever the store says."""
    trigger = identity.trigger if identity.trigger in TRIGGERS else "Manual"
    deployment = identity.deployment_id if re.fullmatch(UUID_PATTERN, identity.deployment_id) else None
    spec = {
        "id": identity.snapshot_id,
        "environmentRef": {"name": environment},
        "trigger": trigger,
        "requestedBy": identity.requested_by[:256],
        "retention": "Keep",
        "deletionPolicy": "Retain",
        **({"deploymentId": deployment} if deployment else {}),
    }
    annotations, finalizers = {naming.ANNOTATION_IMPORT: store.meta.uid}, [naming.FINALIZER_DATA]
    return SNAPSHOT.new(store.meta.namespace, spec, name=name, annotations=annotations, finalizers=finalizers)


def status(snapshot: Snapshot, store: Store, entry: StoredSnapshot, base_name: str, now: datetime) -> SnapshotStatus:
    """The status of an imported Snapshot: what adoption would make of the manifest, with what the store has beside it.
    `base_name`: of the full Snapshot that a differential needs."""
    fresh = snapshot.with_status(SnapshotStatus(id=snapshot.id, store_name=store.meta.name))
    found = transitions.completed(
        fresh, entry.result, None, clean=True, imported=True, now=now, base_name=base_name or None
    )
    imported = ImportedStatus(at=clock.text(now), stored=entry.result.state or StoredState())
    # A remote copy's manifest names the store that it was copied from.
    return found.model_copy(update={"imported": imported, "store_id": store.status.store_id})


# --- take-over -----------------------------------------------------------------------------------------------------


def spec_of_stored(snapshot: Snapshot) -> Object | None:
    """What takeOver sets in the spec of an imported Snapshot; None: nothing. A spec that a person has changed since the
    import stays."""
    spec, imported = snapshot.spec, snapshot.status.imported
    if imported is None or (spec.pin, spec.retention, spec.deletion_policy) != (None, "Keep", "Retain"):
        return None
    stored = imported.stored
    if stored == StoredState():
        return None
    pin = {"pin": {"label": stored.pin_label}} if stored.pin_label is not None else {}
    return {"retention": stored.retention, "deletionPolicy": stored.deletion_policy, **pin}


def taken_over(snapshot: Snapshot) -> SnapshotStatus:
    """The status once the spec has what the store had."""
    imported = snapshot.status.imported
    if imported is None:
        raise ValueError(f"{snapshot.key} was not imported")
    update = {
        "imported": imported.model_copy(update={"taken_over": True}),
        "observed_generation": snapshot.meta.generation,
    }
    return snapshot.status.model_copy(update=update)


# --- pages ---------------------------------------------------------------------------------------------------------


@dataclass
class Counted:
    """What one page brought."""

    imported: int = 0
    existing: int = 0
    waiting: int = 0
    rollbacks: int = 0
    rollbacks_existing: int = 0
    older: int = 0
    refused: int = 0
    examples: tuple[str, ...] = ()

    def refuse(self, id_: str, why: str) -> None:
        """One snapshot or rollback cannot be imported."""
        self.refused += 1
        self.examples = (*self.examples, shortened(f"{id_}: {why}", 200))[:EXAMPLES]


def after_page(
    running: ImportStatus, result: ManifestsResult, counted: Counted, now: datetime, *, complete: bool
) -> ImportStatus:
    """The import after a page: the next page, another round for differentials that were forgotten before their full
    snapshots came, or the end.
    `complete`: none was forgotten, so those that still wait have no full snapshot in the store."""
    examples = (
        *running.skipped_examples,
        *(f"{each.key}: {each.reason}" for each in result.skipped_examples),
        *counted.examples,
    )
    found = running.model_copy(
        update={
            "page": running.page + 1,
            "attempt": 1,
            "after": result.next,
            "found": running.found + result.listed - result.rollbacks,
            "imported": running.imported + counted.imported,
            "existing": running.existing + counted.existing,
            "waiting": running.waiting + counted.waiting,
            "skipped": running.skipped + result.skipped + counted.refused,
            "incomplete": running.incomplete + result.incomplete,
            "skipped_examples": tuple(dict.fromkeys(examples))[:EXAMPLES],
            "rollbacks": _rollbacks(running.rollbacks or ImportedRollbacks(), result, counted),
            **(
                {}
                if running.after
                else {"foreign": result.foreign, "foreign_environments": result.foreign_environments}
            ),
        }
    )
    if result.next:
        if found.page >= MAX_PAGES:
            return failed(found, f"The store offers more than {MAX_PAGES} pages of snapshots.", now)
        return found
    if found.waiting and not complete and found.imported > 0 and found.round < MAX_ROUNDS:
        return _next_round(found)
    return _done(found, now)


def _rollbacks(before: ImportedRollbacks, result: ManifestsResult, counted: Counted) -> ImportedRollbacks:
    return ImportedRollbacks(
        found=before.found + result.rollbacks + result.rollbacks_older,
        imported=before.imported + counted.rollbacks,
        existing=before.existing + counted.rollbacks_existing,
        older=before.older + counted.older + result.rollbacks_older,
        unfinished=before.unfinished + result.rollbacks_open,
    )


#: Rounds over the store: one, another one for the differentials that the operator has forgotten, as at a restart, and
#: one where that came again.
MAX_ROUNDS = 3


def _next_round(found: ImportStatus) -> ImportStatus:
    """What was counted is counted again: the Snapshots of this import still count as imported."""
    again = {
        "found": 0,
        "imported": 0,
        "existing": 0,
        "waiting": 0,
        "skipped": 0,
        "incomplete": 0,
        "skipped_examples": (),
        "rollbacks": None,
    }
    return found.model_copy(update={**again, "round": found.round + 1, "after": ""})


def _done(found: ImportStatus, now: datetime) -> ImportStatus:
    message = f"{found.imported} of {found.found} snapshots were imported; {found.existing} were there."
    rollbacks = found.rollbacks or ImportedRollbacks()
    if rollbacks.found:
        message += (
            f" Of {rollbacks.found} finished rollbacks {rollbacks.imported} were imported, {rollbacks.existing} were"
            " there."
        )
    if found.skipped:
        message += (
            f" {found.skipped} were skipped, for example {found.skipped_examples[0]}." if found.skipped_examples else ""
        )
    if found.incomplete:
        message += (
            f" {found.incomplete} of them lack objects in the store: they are looked for again every {AGAIN / 60:.0f}"
            " minutes."
        )
    if found.waiting:
        message += f" {found.waiting} differentials lack the full snapshot that they need."
    if found.foreign_environments:
        message += (
            f" {found.foreign_environments} other environments have snapshots in the store: see status.import.foreign."
        )
    return found.model_copy(update={"state": "Done", "finished_at": clock.text(now), "message": message})


def failed(running: ImportStatus, why: str, now: datetime) -> ImportStatus:
    """The import ended early; what it has imported stays."""
    message = (
        f"The import failed: {why} It is repeated after {AGAIN / 60:.0f} minutes, or when"
        f" {naming.ANNOTATION_IMPORT_REQUESTED} asks for it."
    )
    return running.model_copy(
        update={"state": "Failed", "finished_at": clock.text(now), "message": shortened(message, 1000)}
    )


def with_import(
    store: Store, found: ImportStatus, now: datetime, places: Mapping[str, Place] | None = None
) -> SnapshotStoreStatus:
    """The store's status with the import and the condition Imported. `places`: at the end of an import, those of the
    namespace now. The condition is not True before everything that belongs to them can have come."""
    stamp = Stamp.of(store.meta, now)
    status_ = store.status.model_copy(update={"import_": found})
    if found.state == "Running":
        return summarize.with_condition(status_, c.IMPORTED, "Unknown", c.IMPORTING, found.message, stamp)
    if found.state == "Failed":
        return summarize.with_condition(status_, c.IMPORTED, "False", c.IMPORT_FAILED, found.message, stamp)
    if places is not None and not places and found.foreign_environments:
        text = (
            "The namespace has no Environment yet. Create those with the ids in status.import.foreign: the import"
            f" follows. {found.message}"
        )
        return summarize.with_condition(status_, c.IMPORTED, "Unknown", c.ENVIRONMENT_NOT_FOUND, text, stamp)
    if places is not None and scope(places, store.status.store_id or "") != found.scope:
        text = f"Environments were created or changed since: another import follows. {found.message}"
        return summarize.with_condition(status_, c.IMPORTED, "Unknown", c.IMPORTING, text, stamp)
    if found.skipped or found.waiting:
        return summarize.with_condition(status_, c.IMPORTED, "False", c.IMPORT_INCOMPLETE, found.message, stamp)
    return summarize.with_condition(status_, c.IMPORTED, "True", c.SUCCEEDED, found.message, stamp)
