"""Decisions of an import about rollbacks: the Rollback that is made of a record, and which records get none. Pure.

An imported Rollback never runs: its status is terminal (stage Ended); until that is written, the annotation keeps it
from starting (rollback/plan.py); and its spec.notAfter has passed, which also holds where annotation and status are
lost, or for an operator that does not know the annotation.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from pydantic import ValidationError

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.kinds import ROLLBACK
from ocore_crds.protocol import Step
from ocore_crds.reports.store_listing import StoredRollback
from ocore_crds.resources.preview import NEVER
from ocore_crds.resources.rollback import ImportedRollback, RollbackSpec, RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import EvidenceStatus
from ocore_crds.rules import history
from ocore_crds.rules.history import Finished
from ocore_crds.stored.rollback_record import RECORDED_STATUS
from ocore_crds.text.sentences import sentence
from ocore_operator import clock, summarize
from ocore_operator.imports.rules import Place
from ocore_operator.kube.resources import Object, Rollback, Store
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.executed import spec_hash
from ocore_operator.rollback.transitions import change, step, undone
from ocore_operator.summarize import Stamp

#: What a record of an earlier version lacks.
OLD_RECORD = (
    "who asked for it",
    "its specification",
    "when it was created",
    "whether the copy was neutralised",
    "its safety snapshot",
    "its steps",
)


@dataclass(frozen=True)
class Siblings:
    """What the records of one environment say about each other, and the Snapshots of the namespace."""

    #: Rollback id → name, for undos that name another rollback.
    names: Mapping[str, str]
    #: Rollback id → name of the rollback that has undone it.
    undone_by: Mapping[str, str]
    #: Snapshot id → name.
    snapshots: Mapping[str, str]


def siblings(entries: Iterable[StoredRollback], snapshots: Mapping[str, str]) -> Siblings:
    """Of one environment. A rollback, its undo, and the undo of that are about the same databases: each of them has
    undone the one before."""
    switched = sorted((e for e in entries if e.outcome == "Switched"), key=lambda e: e.switched_at or e.ended_at)
    chains: dict[str, list[StoredRollback]] = defaultdict(list)
    for entry in switched:
        chains[entry.run.undoes or entry.run.rollback_id].append(entry)
    undone_by = {
        earlier.run.rollback_id: later.run.name
        for chain in chains.values()
        for earlier, later in pairwise(chain)
        if later.run.undoes
    }
    return Siblings({e.run.rollback_id: e.run.name for e in entries}, undone_by, snapshots)


def belongs(entry: StoredRollback, found: Mapping[str, Place]) -> Place | None:
    """The Environment of the namespace that the rollback was of; None: none. The Job has checked both already."""
    place, recorded = found.get(entry.run.environment_id), entry.run.rollback
    project = recorded.project_id if recorded is not None else ""
    return place if place is not None and project in ("", place.project_id) else None


def beyond(entries: Sequence[StoredRollback], existing: Iterable[Finished], limit: int, now: datetime) -> set[str]:
    """Ids of those of one environment that the history limit would remove at once. `existing`: its finished
    Rollbacks."""
    new = [
        Finished(
            name=entry.run.rollback_id,
            time=entry.ended_at,
            switched=entry.switched_at is not None,
            removable=True,
        )
        for entry in entries
    ]
    ids = {entry.run.rollback_id for entry in entries}
    return ids.intersection(history.beyond([*existing, *new], limit, now))


# --- the object ------------------------------------------------------------------------------------------------------


def recorded_spec(entry: StoredRollback) -> RollbackSpec | None:
    """The spec as it was; None: the record has none, or not the one that its hash is of."""
    if entry.run.rollback is None:
        return None
    try:
        found = RollbackSpec.model_validate(entry.run.rollback.spec)
    except ValidationError:
        return None
    return found if spec_hash(found) == entry.run.spec_hash and not found.dry_run else None


def names(entry: StoredRollback, place: Place, now: datetime) -> tuple[str, ...]:
    """Names for the Rollback, the best one first. It gets its own only with its own spec: a GitOps tool that applies it
    again must find what it applies."""
    spec, other = recorded_spec(entry), f"imported-{entry.run.rollback_id}"
    target = spec.target_environment_ref if spec is not None else None
    same = spec is not None and (target is None or target.name == place.name) and _is_past(spec.not_after, now)
    return (entry.run.name, other) if same else (other,)


def body(store: Store, entry: StoredRollback, place: Place, name: str, known: Siblings, now: datetime) -> Object:
    """The Rollback to create. An object that is applied keeps the fields of others, here `id` and `notAfter`, so Git
    can apply its own spec to it."""
    spec = recorded_spec(entry)
    wanted = (
        dict(entry.run.rollback.spec)
        if spec is not None and entry.run.rollback is not None
        else _rebuilt(entry, place, known)
    )
    if spec is not None and spec.target_environment_ref is not None:
        wanted["targetEnvironmentRef"] = {"name": place.name}
    own = wanted.get("notAfter")
    wanted |= {"id": entry.run.rollback_id, "notAfter": own if own and _is_past(own, now) else NEVER}
    annotations = {naming.ANNOTATION_IMPORT: store.meta.uid}
    return ROLLBACK.new(store.meta.namespace, wanted, name=name, annotations=annotations)


def _rebuilt(entry: StoredRollback, place: Place, known: Siblings) -> Object:
    """The least spec that says what it was about."""
    run = entry.run
    if run.undoes:
        return {"undo": {"rollbackRef": {"name": known.names.get(run.undoes, f"imported-{run.undoes}")}}}
    name = known.snapshots.get(run.snapshot_id, f"imported-{run.snapshot_id}")
    return {"snapshotRef": {"name": name}, "targetEnvironmentRef": {"name": place.name}}


def _is_past(time: str | None, now: datetime) -> bool:
    return time is None or clock.parse(time) < now


# --- the status ------------------------------------------------------------------------------------------------------


def status(
    rollback: Rollback, store: Store, entry: StoredRollback, place: Place, known: Siblings, now: datetime
) -> RollbackStatus:
    """The status of an imported Rollback: terminal, with what the record has. `residue` stays unknown: another cluster
    may keep, or have removed, what was kept."""
    run = entry.run
    recorded, missing = _recorded(entry)
    found = change(
        recorded,
        id=rollback.id,
        stage="Ended",
        stage_since=entry.ended_at,
        started_at=recorded.started_at or entry.began_at,
        completed_at=entry.ended_at,
        environment_name=place.name,
        environment_id=run.environment_id,
        snapshot_id=run.snapshot_id,
        snapshot_name=known.snapshots.get(run.snapshot_id) or recorded.snapshot_name,
        manifest_sha256=run.manifest_sha256 or None,
        undo=recorded.undo or _undo(entry, known),
        switched_at=entry.switched_at,
        evidence=EvidenceStatus.of(entry.evidence, {}, {}) if entry.evidence is not None else None,
        imported=ImportedRollback(
            at=clock.text(now), store_name=store.meta.name, name=run.name, spec_hash=run.spec_hash, missing=missing
        ),
    )
    ended = _ended(found, entry)
    by = known.undone_by.get(run.rollback_id)
    if by is not None:
        ended = change(undone(ended, by), residue=None)
    done = summarized(
        ended,
        generation=rollback.meta.generation,
        deleting=False,
        reason="",
        message="",
        now=clock.parse(entry.ended_at),
    )
    return _with_condition(done, missing, Stamp.of(rollback.meta, now))


def _recorded(entry: StoredRollback) -> tuple[RollbackStatus, tuple[str, ...]]:
    """The status when the last Job was created, and what the record lacks."""
    missing: list[str] = []
    found = RollbackStatus()
    if entry.run.rollback is None:
        missing += OLD_RECORD
    else:
        if recorded_spec(entry) is None:
            missing += ["who asked for it", "its specification"]
        try:
            found = RollbackStatus.model_validate(_trusted(entry.run.rollback.status))
        except ValidationError:
            found = RollbackStatus()
        if not found.steps:
            missing += ["whether the copy was neutralised", "its safety snapshot", "its steps"]
    if entry.evidence is None and not entry.run.undoes:
        missing.append("what the restore had proven")
    if entry.outcome != "Switched" and entry.failure is None and not found.failure_message:
        missing.append("why it failed")
    return found, tuple(missing)


def _trusted(recorded: Object) -> Object:
    """Of a recorded status, only what a record has: a record is what someone has written into the bucket. The target,
    which names Secrets, is left out: no Job of an imported Rollback uses it."""
    return {name: recorded[name] for name in RECORDED_STATUS if name in recorded and name != "target"}


def _undo(entry: StoredRollback, known: Siblings) -> UndoStatus | None:
    """Of an undo whose record is of an earlier version."""
    undoes = entry.run.undoes
    if not undoes:
        return None
    name = known.names.get(undoes, f"imported-{undoes}")
    return UndoStatus(rollback_name=name, rollback_id=undoes, names_id=undoes, to="Old")


def _ended(found: RollbackStatus, entry: StoredRollback) -> RollbackStatus:
    """By the outcome. What came after the switch is not in the record: those steps stay Pending."""
    at = clock.parse(entry.ended_at)
    if entry.outcome == "NotSwitched":
        failure = entry.failure
        reason = failure.reason if failure is not None else found.failure_reason or c.SWITCH_FAILED
        why = failure.message if failure is not None else found.failure_message or "Why is not in its record."
        text = f"The rollback was stopped before the switch. {sentence(why)} The environment stayed as it was."
        return _skipped(change(found, phase="Failed", position="Old", failure_reason=reason, failure_message=text), at)
    switched = clock.parse(entry.switched_at or entry.ended_at)
    found = step(step(found, Step.QUIESCE, "Done", switched), Step.SWITCH, "Done", switched)
    if entry.outcome == "Switched":
        return change(found, phase="Complete", position="New", failure_reason=None, failure_message=None)
    why = found.failure_message or "Why it was switched back is not in its record."
    found = step(found, Step.SWITCH_BACK, "Done", at)
    text = f"{sentence(why)} The environment was switched back and runs on what it ran on before."
    back = change(
        found,
        phase="Failed",
        position="Old",
        switched_back_at=entry.ended_at,
        failure_reason=c.SWITCHED_BACK,
        failure_message=text,
    )
    return _skipped(back, at)


def _skipped(found: RollbackStatus, at: datetime) -> RollbackStatus:
    for known in found.steps:
        if known.state in ("Pending", "Running"):
            found = step(found, Step(known.name), "Skipped", at)
    return found


def _with_condition(found: RollbackStatus, missing: Sequence[str], stamp: Stamp) -> RollbackStatus:
    after = (
        " It ends with the switch: whether the workloads were ready, and until when the previous data was kept, is not"
        " in it."
    )
    text = f"Imported from its record in the store.{after if found.phase != 'Failed' else ''}"
    if not missing:
        return summarize.with_condition(found, c.IMPORTED, "True", c.SUCCEEDED, text, stamp)
    lacks = f"{text} The record also lacks: {', '.join(missing)}."
    return summarize.with_condition(found, c.IMPORTED, "False", c.IMPORT_INCOMPLETE, lacks, stamp)
