"""Where the Snapshot of a rollback comes from: another environment, another namespace, another store. Pure.

Who may restore what (docs/decisions/0019): the projects are equal always. A Snapshot in another namespace needs a grant
of the Environment that it was taken of. The answer to a namespace without a grant does not depend on what exists in the
other one.
"""

from collections.abc import Iterator
from typing import Any

from ocore_crds import conditions as c
from ocore_crds.resources import remote_copy
from ocore_crds.resources.rollback import RemoteSource, RollbackSpec, RollbackStatus
from ocore_operator.kube.resources import Environment, Rollback, Snapshot
from ocore_operator.rollback import neutralizing, remote_source
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.snapshot_and_environment import taken_of
from ocore_operator.rollback.world import SourceView, World


def other_namespace(rollback: Rollback) -> str:
    """The Snapshot's namespace where it is not the Rollback's own; else empty."""
    ref = rollback.spec.snapshot_ref
    named = ref.namespace if ref is not None else None
    return named if named is not None and named != rollback.meta.namespace else ""


def granted(snapshot: Snapshot | None, environment: Environment | None, namespace: str) -> bool:
    """Whether `namespace` may restore the Snapshot of another one. `environment`: the one that the Snapshot names, in
    the Snapshot's namespace. It must be the one that the Snapshot was taken of: without it there is no grant."""
    if snapshot is None or environment is None:
        return False
    source = snapshot.status.source
    if source is not None and source.environment_id != environment.id:
        return False
    return any(grant.namespace == namespace for grant in environment.spec.allow_rollback_to)


def store_name(
    rollback: Rollback, snapshot: Snapshot, environment: Environment, remote: RemoteSource | None = None
) -> str | None:
    """The SnapshotStore, in the Rollback's namespace, that the Snapshot is read from; None for an ordinary rollback in
    place, which uses one store for everything: the Snapshot's own, or that of its remote copy. `remote`: the copy,
    where it is read."""
    ref, source = rollback.spec.source_store_ref, snapshot.status.source
    if ref is not None:
        return ref.name
    if other_namespace(rollback):
        return environment.spec.store_ref.name
    if source is None or source.environment_id == environment.id:
        return None
    return remote.store_name if remote is not None else snapshot.status.store_name


# --- the preflight ---------------------------------------------------------------------------------------------------


def unreachable(spec: RollbackSpec, world: World) -> Refusal | None:
    """Why a Snapshot in another namespace cannot be used; None where it can, or is in this one."""
    source, ref = world.source, spec.snapshot_ref
    if not source.namespace or ref is None:
        return None
    if not source.watched:
        text = (
            f"The operator does not watch namespace {source.namespace}, or may not read it, so it can neither read nor"
            " protect its Snapshots. Add the namespace to watchNamespaces of the chart (OCORE_NAMESPACES), then create"
            " a new Rollback."
        )
        return Refusal(c.NAMESPACE_NOT_WATCHED, text)
    if world.snapshot is None:
        return Refusal(c.ACCESS_NOT_GRANTED, not_granted(source.namespace, ref.name, source.into), patience=True)
    if world.snapshot.meta.deleted is not None:
        text = f"Snapshot {source.namespace}/{world.snapshot.meta.name} is being deleted. Choose another one."
        return Refusal(c.SNAPSHOT_NOT_FOUND, text)
    return None


def not_granted(namespace: str, name: str, into: str) -> str:
    """The same text whether the Snapshot exists or not."""
    return (
        f"Namespace {namespace} has no Snapshot {name} that may be restored into namespace {into}. If the Snapshot"
        f" exists: its Environment must exist, too, with the id that the Snapshot recorded, and list {into} in"
        " spec.allowRollbackTo. Correct that or snapshotRef, then create a new Rollback."
    )


def misfits(spec: RollbackSpec, world: World, snapshot: Snapshot, environment: Environment) -> Iterator[Refusal | None]:
    """Why a Snapshot of the same project does not fit the target."""
    of = taken_of(snapshot).environment_id
    if of != environment.status.id and spec.target_environment_ref is None:
        text = (
            f"Snapshot {snapshot.meta.name} was taken of the environment with id {of};"
            f" {environment.meta.name} has id {environment.status.id}. If it is the same environment, created again,"
            " set its spec.id to the first. To restore into another environment, set targetEnvironmentRef."
        )
        yield Refusal(c.OTHER_ENVIRONMENT, text)
        return
    yield neutralizing.refusal(spec, environment, snapshot, world.workloads)
    yield _store(world.source, snapshot, environment)


def _store(source: SourceView, snapshot: Snapshot, environment: Environment) -> Refusal | None:
    store = source.store
    if store is None:
        return None
    remedy = (
        "Set sourceStoreRef to a SnapshotStore of this namespace for the Snapshot's store (access ReadOnly is enough)."
    )
    if not store.exists:
        return Refusal(
            c.STORE_NOT_FOUND, f"There is no SnapshotStore {store.name} in this namespace. {remedy}", patience=True
        )
    if store.problem:
        text = f"SnapshotStore {store.name}, which the Snapshot is read from, is not ready: {store.problem}"
        return Refusal(c.STORE_NOT_READY, text, patience=True)
    ids = remote_source.store_ids(snapshot)
    if store.id not in ids:
        text = (
            f"SnapshotStore {store.name} has the id {store.id}, and Snapshot {snapshot.meta.name} is in the store with"
            f" the id {' or '.join(ids) or 'unknown'}. {remedy}"
        )
        return Refusal(c.OTHER_STORE, text)
    mine, theirs = source.record_account, store.account
    if mine and theirs and mine != theirs:
        text = (
            f"One Job reads SnapshotStore {store.name} with service account {theirs} and writes the record of the"
            f" rollback to the store of {environment.meta.name} with {mine}. Set the same serviceAccountName in both,"
            " or use static keys in one of them."
        )
        return Refusal(c.SERVICE_ACCOUNT_CONFLICT, text)
    return None


def unclaimed(status: RollbackStatus, world: World) -> bool:
    """Whether the status must still say which Snapshot of another namespace the rollback uses. Once it does, that
    Snapshot is not deleted."""
    return bool(world.source.namespace) and status.snapshot_namespace != world.source.namespace


# --- the status ------------------------------------------------------------------------------------------------------


def claim(world: World, snapshot: Snapshot) -> dict[str, Any]:
    """What the status says before the rollback waits or starts."""
    return {"snapshot_namespace": world.source.namespace or None, "snapshot_name": snapshot.meta.name}


def recorded(world: World, snapshot: Snapshot) -> dict[str, Any]:
    """What the status says from the start on."""
    store, taken = world.source.store, taken_of(snapshot)
    return {
        **claim(world, snapshot),
        "source_environment_name": taken.environment_name or None,
        "source_environment_id": taken.environment_id or None,
        "source_environment_type": taken.environment_type or None,
        "source_store_name": store.name if store is not None else None,
        "remote": world.source.remote,
        "remote_copy_state": remote_copy.state_of(snapshot.status.remote),
    }


def is_copy(status: RollbackStatus) -> bool:
    """Whether the rollback restores a Snapshot of another environment."""
    return status.source_environment_id not in (None, status.environment_id)


def reads_elsewhere(status: RollbackStatus) -> bool:
    """Whether the record of the rollback goes to the Environment's store, and not to the Snapshot's."""
    return is_copy(status) or status.source_store_name is not None
