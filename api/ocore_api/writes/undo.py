"""Rollbacks that exist: undone, or cancelled before the switch."""

from datetime import UTC, datetime

from ocore_api.cache import Cache, EnvironmentEntry, RollbackEntry, console
from ocore_api.errors import Problem
from ocore_api.views.console.rollbacks import control
from ocore_api.views.values import Resource
from ocore_api.writes import keys, rollbacks
from ocore_api.writes.client import ATTEMPTS, Client, read_live
from ocore_api.writes.creation import Creation, create
from ocore_crds.naming import ANNOTATION_TARGET_ID
from ocore_kube import errors
from ocore_kube.types import ROLLBACKS


async def undo(
    client: Client, cache: Cache, undone: RollbackEntry, target: EnvironmentEntry, subject: str, key: str | None
) -> rollbacks.Started:
    """Creates the Rollback that undoes one, or finds the one that the same key has created before.

    Raises Problem where it cannot be undone (UndoNotPossible), or an operation runs (OperationRunning).
    """
    given = {"undo": undone.id}
    found = await rollbacks.repeated(cache, client, subject, target.id, key, given)
    if found is not None:
        return found
    identity = keys.identity("Rollback", subject, target.id, key)
    wanted = Creation(ROLLBACKS, undone.namespace, identity.name(target.name), subject, given)
    live = Resource(await read_live(client, ROLLBACKS, undone))
    refusal = console.undo_refusal(cache.served, undone, control(live), datetime.now(UTC))
    if refusal:
        raise Problem("UndoNotPossible", refusal)
    await rollbacks.need_idle(client, cache, target, wanted.name)
    spec = {"id": identity.id, "undo": {"rollbackRef": {"name": undone.name}}}
    return rollbacks.started(await create(client, cache, wanted, spec, {ANNOTATION_TARGET_ID: target.id}))


async def cancel(client: Client, entry: RollbackEntry) -> None:
    """Deletes a Rollback that has not begun to switch: the operator aborts it, then removes it.

    The deletion of one that has ended would drop the data that an undo needs. So it holds for the very version that was
    checked. Raises Problem from the switch on (CancelNotPossible).
    """
    for attempt in range(ATTEMPTS):
        live = Resource(await read_live(client, ROLLBACKS, entry))
        found = control(live)
        if found.deleting and not found.ended:
            return
        if found.cancel_refusal:
            raise Problem("CancelNotPossible", found.cancel_refusal)
        version = live.meta["resourceVersion"]
        try:
            await client.delete(ROLLBACKS, entry.namespace, entry.name, uid=entry.uid, version=version)
        except errors.Conflict:  # the operator has written the status
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return
