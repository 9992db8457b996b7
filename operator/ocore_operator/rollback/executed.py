"""Which rollbacks an Environment remembers (status.executedRollbacks), so that none runs twice. Pure."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal

from ocore_crds.resources.environment import ExecutedRollback, UndoneRollback
from ocore_crds.resources.rollback import RollbackSpec
from ocore_crds.stored.rollback_record import RecordedRollback, RollbackRun
from ocore_operator.clock import parse
from ocore_operator.kube.resources import Environment, Rollback

#: Number of rollbacks that an Environment remembers.
REMEMBERED = 50


def spec_without_defaults(spec: RollbackSpec) -> dict[str, Any]:
    """What a Rollback asks for. A field that a later version adds must not make an old rollback a new one."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)


def spec_hash(spec: RollbackSpec) -> str:
    """Identifies what a Rollback asks for."""
    data = spec_without_defaults(spec)
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def executed(environment: Environment, rollback: Rollback) -> bool:
    """Whether the Environment remembers a rollback of this name and specification."""
    name, hashed = rollback.meta.name, spec_hash(rollback.spec)
    return any(e.name == name and e.spec_hash == hashed for e in environment.status.executed_rollbacks)


def remembered(environment: Environment, rollback: Rollback, now: str) -> tuple[ExecutedRollback, ...]:
    """The Environment's list with this rollback, the newest last."""
    entry = ExecutedRollback(
        name=rollback.meta.name,
        spec_hash=spec_hash(rollback.spec),
        id=rollback.id,
        completed_at=rollback.status.switched_at or now,
        undoes=names_id(rollback) if rollback.status.undo is not None else None,
    )
    others = [e for e in environment.status.executed_rollbacks if e.id != entry.id]
    return tuple(sorted([*others, entry], key=lambda e: e.completed_at)[-REMEMBERED:])


def names_id(rollback: Rollback) -> str:
    """The id in the names of the databases and folders that the rollback uses: its own, or of an undo that of the first
    rollback."""
    undo = rollback.status.undo
    return undo.names_id if undo is not None else rollback.id


def later(environment: Environment, rollback: Rollback) -> str:
    """Name of the last rollback that ran after this one and is in effect; empty where none is. A rollback and its undo
    cancel each other out."""
    status = rollback.status
    since = max((parse(t) for t in (status.switched_at, status.switched_back_at) if t), default=None)
    effective: dict[str, str] = {}
    for entry in environment.status.executed_rollbacks:
        restored = entry.undoes or entry.id
        if since is None or parse(entry.completed_at) <= since or restored == names_id(rollback):
            continue
        if effective.pop(restored, None) is None:
            effective[restored] = entry.name
    return next(reversed(effective.values()), "")


def entry_about(environment: Environment | None, rollback_id: str) -> UndoneRollback | None:
    """What the Environment remembers about undos of this rollback."""
    entries: Iterable[UndoneRollback] = environment.status.undone_rollbacks if environment is not None else ()
    return next((e for e in entries if e.id == rollback_id), None)


def with_undo(
    environment: Environment,
    rollback: Rollback,
    state: Literal["Running", "Undone", "Returned"],
    keep_until: str | None = None,
) -> tuple[UndoneRollback, ...]:
    """The Environment's list with this undo, the newest last."""
    undo = rollback.status.undo
    if undo is None:
        raise ValueError(f"Rollback {rollback.meta.name} is no undo")
    mine = UndoneRollback(
        id=undo.rollback_id, by_name=rollback.meta.name, by_id=rollback.id, state=state, keep_until=keep_until
    )
    others = [e for e in environment.status.undone_rollbacks if e.id != mine.id]
    return (*others, mine)[-REMEMBERED:]


def run_of(rollback: Rollback, project_id: str) -> RollbackRun:
    """What the rollback's Jobs write to its record in the store, for a cluster that is rebuilt. The Job sets the
    attempt. The rollback has started.
    `project_id`: of its Environment."""
    status = rollback.status
    return RollbackRun(
        name=rollback.meta.name,
        spec_hash=spec_hash(rollback.spec),
        uid=rollback.meta.uid,
        rollback_id=rollback.id,
        environment_id=status.environment_id or "",
        undoes=names_id(rollback) if status.undo is not None else None,
        snapshot_id=status.snapshot_id or "",
        manifest_sha256=status.manifest_sha256 or "",
        attempt="0",
        rollback=RecordedRollback.of(
            project_id, rollback.meta.created, spec_without_defaults(rollback.spec), status.wire()
        ),
    )
