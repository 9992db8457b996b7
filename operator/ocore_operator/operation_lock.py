"""The operation lock, one operation per environment: ``Environment.status.operation``, set by compare and swap.

The lock is safe against any number of writers: server-side apply with the resourceVersion that was read. The order of
the operations that wait comes from the catalog. It decides which one goes first, never whether two run at once.
"""

import random
from dataclasses import replace
from typing import Any

import structlog

from ocore_crds import conditions as c
from ocore_crds.resources.environment import Operation
from ocore_crds.rules import locking
from ocore_kube.types import OURS
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.entries import snapshots
from ocore_operator.entries.operations import OperationEntry, operations
from ocore_operator.entries.rollbacks import RollbackEntry, cleanups
from ocore_operator.errors import Waiting
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Entry
from ocore_operator.kube.client import MANAGER_LOCK, read
from ocore_operator.kube.resources import Environment, Meta, Resource

#: Seconds until an operation that waits tries again, at most. A release queues it at once; this covers a holder that
#: was removed without one.
PAUSE = 40.0
#: Seconds for which a due cleanup goes before every other operation: one whose attempts cannot even begin must not
#: block the environment. Longer than one attempt of a cleanup (rollback/plan_after_end.py).
CLEANUP_FIRST_SECONDS = 900.0
#: An operation without a status after so many seconds does not count as waiting: something prevents its reconcile.
UNSEEN_AFTER = 60.0

#: A Snapshot, Rollback or Extract.
Owner = Resource[Any, Any]

_log = structlog.get_logger()


def _pause() -> float:
    """Seconds, spread: operations that began to wait together do not all try again at the same time."""
    return PAUSE * random.uniform(0.5, 1)  # noqa: S311 - jitter


def is_held_by(environment: Environment, owner: Owner) -> bool:
    """Whether `owner` is the holder."""
    operation = environment.status.operation
    return operation is not None and operation.uid == owner.meta.uid


async def acquire(ctx: Context, environment: Environment, owner: Owner) -> Environment:
    """Returns the Environment once `owner` holds its lock, also where it held it before. Raises
    Waiting(WaitingForOperation) with the name of the holder, or of an operation that goes first: a Rollback whose
    cleanup is due, then the oldest (creationTimestamp, then uid). Raises Conflict where the Environment changed since
    it was read."""
    wait = await blocked(ctx, environment, owner)
    if wait is not None:
        raise wait
    if is_held_by(environment, owner):
        return environment
    mine = Operation(
        kind=owner.kind.kind,
        name=owner.meta.name,
        uid=owner.meta.uid,
        since=clock.text(ctx.now()),
    )
    if mine.kind == "Rollback":  # their test restores stop
        for tested in snapshots.of_environment(ctx.catalog, environment.meta.namespace, environment.meta.name):
            if tested.restore is not None and tested.restore.open:
                ctx.queue.add(tested.key)
    held = await _write(ctx, environment, mine)
    _log.info(
        "operation lock acquired",
        namespace=environment.meta.namespace,
        environment=environment.meta.name,
        by=str(owner.key),
    )
    return held


async def blocked(ctx: Context, environment: Environment, owner: Owner) -> Waiting | None:
    """For what `owner` waits, with the reason WaitingForOperation; None where it holds the lock or may acquire it. The
    operation that goes first is queued."""
    if is_held_by(environment, owner):
        return None
    operation = environment.status.operation
    if operation is not None and not await stale(ctx, environment):
        return Waiting(
            c.WAITING_FOR_OPERATION,
            f"{operation.kind} {operation.name} holds the operation lock of Environment {environment.meta.name} since"
            f" {operation.since}.",
            _pause(),
        )
    first, why = goes_first(ctx, environment, owner)
    if first is None:
        return None
    ctx.queue.add(first.key)
    text = f"{first.key.kind} {first.key.name} also waits for Environment {environment.meta.name} {why}."
    return Waiting(c.WAITING_FOR_OPERATION, text, _pause())


async def release(ctx: Context, namespace: str, environment_name: str, owner: Owner) -> None:
    """Releases the lock and queues the operations that wait. Does nothing where `owner` does not hold it. Raises
    Conflict."""
    environment = await read(ctx.kube, resources.environment, namespace, environment_name)
    if environment is not None and is_held_by(environment, owner):
        await clear(ctx, environment)


async def clear(ctx: Context, environment: Environment) -> None:
    """Clears the lock, whichever operation holds it, and queues the operations that wait. Raises Conflict."""
    await _write(ctx, environment, None)
    namespace, name = environment.meta.namespace, environment.meta.name
    for waiting in (*cleanups(ctx.catalog, namespace, name), *operations(ctx.catalog, namespace, name)):
        ctx.queue.add(waiting.key)


async def stale(ctx: Context, environment: Environment) -> bool:
    """Whether the holder is gone, or done with the lock."""
    operation = environment.status.operation
    if operation is None:
        return False
    obj = await ctx.kube.get(OURS[operation.kind], environment.meta.namespace, operation.name)
    return locking.is_done(operation.kind, operation.uid, obj)


def goes_first(ctx: Context, environment: Environment, owner: Owner) -> tuple[Entry | None, str]:
    """The operation that goes before `owner`, and why; None where `owner` is next.

    A due cleanup is first: else a series of rollbacks, each older than the cleanup's turn, leaves a previous database
    each until the disk is full (issue 9, item 23).
    """
    due = _due_cleanups(ctx, environment)
    if c.is_terminal(owner.status.conditions):  # it cleans up: only an older cleanup goes before it
        mine = (owner.meta.created, owner.meta.uid)
        return next((e for e in due if e.age_order < mine), None), "to clean up and is older"
    if due:
        return due[0], "to clean up and goes first"
    return older(ctx, environment, owner), "and is older"


def _due_cleanups(ctx: Context, environment: Environment) -> list[RollbackEntry]:
    now = ctx.now()
    found = cleanups(ctx.catalog, environment.meta.namespace, environment.meta.name)
    return [e for e in found if 0 <= clock.seconds_since(e.cleanup_due, now) < CLEANUP_FIRST_SECONDS]


def older(ctx: Context, environment: Environment, owner: Owner) -> OperationEntry | None:
    """The oldest operation that waits for the Environment, where it is older than `owner`; else None."""
    mine = (owner.meta.created, owner.meta.uid)
    for other in operations(ctx.catalog, environment.meta.namespace, environment.meta.name):
        if other.age_order >= mine:
            return None
        if other.waits_for_lock or (not other.phase and clock.seconds_since(other.created, ctx.now()) < UNSEEN_AFTER):
            return other
    return None


async def _write(ctx: Context, environment: Environment, operation: Operation | None) -> Environment:
    status = {} if operation is None else {"operation": operation.wire()}
    written = await ctx.kube.apply_status(environment, status, MANAGER_LOCK)
    if written is None:
        raise Waiting(c.ENVIRONMENT_NOT_FOUND, f"Environment {environment.meta.name} was deleted.", 1)
    if operation is not None and operation.kind != "Rollback":  # which stops a proof
        # No reconcile of the Environment follows, with all that it reads. The release causes one.
        ctx.catalog.put_own(environment.kind.kind, environment.meta, written)
    moved: Resource = replace(environment, meta=Meta.of(written))  # type: ignore[type-arg]
    return moved.with_status(environment.status.model_copy(update={"operation": operation}))
