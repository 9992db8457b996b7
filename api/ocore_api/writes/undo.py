"""Rollbacks that exist: undone, or cancelled before the switch."""

from ocore_api.cache import Cache, EnvironmentEntry, RollbackEntry, console
from ocore_api.errors import Conflict, NotFound
from ocore_api.views.console.rollbacks import control
from ocore_api.views.values import Resource
from ocore_api.writes import keys, rollbacks
from ocore_api.writes.client import ATTEMPTS, Client, Object
from ocore_api.writes.refusals import translated
from ocore_crds import naming
from ocore_kube import errors
from ocore_kube.types import ROLLBACKS


async def undo(
    client: Client, cache: Cache, undone: RollbackEntry, target: EnvironmentEntry, subject: str, key: str | None
) -> rollbacks.Started:
    """Creates the Rollback that undoes one, or finds the one that the same key has created before.

    Raises Problem: Conflict where it cannot be undone (UndoNotPossible), or an operation runs (OperationRunning).
    """
    given = {"undo": undone.id}
    found = await rollbacks.repeated(cache, client, subject, target.id, key, given)
    if found is not None:
        return found
    identity = keys.identity("Rollback", subject, target.id, key)
    name = identity.name(target.name)
    with translated():
        live = await _live(client, undone)
        refusal = control(Resource(live)).undo_refusal(keys.now()) or console.superseded(cache.served, undone)
        if refusal:
            raise Conflict("UndoNotPossible", refusal)
        await rollbacks.need_idle(client, cache, target, name)
        body = {
            "apiVersion": ROLLBACKS.api_version,
            "kind": ROLLBACKS.kind,
            "metadata": {
                "namespace": undone.namespace,
                "name": name,
                "annotations": {
                    naming.ANNOTATION_REQUEST: keys.body_digest(given),
                    naming.ANNOTATION_REQUESTED_AT: keys.now(),
                    naming.ANNOTATION_TARGET_ID: target.id,
                },
            },
            "spec": {"id": identity.id, "undo": {"rollbackRef": {"name": undone.name}}, "requestedBy": subject},
        }
        try:
            made = await client.create(ROLLBACKS, body)
        except errors.AlreadyExists:  # the same key at the same moment, on another replica
            made = await rollbacks.before(client, body)
    cache.store.put("Rollback", made)
    return rollbacks.Started(name, identity.id, target.id, "")


async def cancel(client: Client, cache: Cache, entry: RollbackEntry) -> None:
    """Deletes a Rollback that has not begun to switch: the operator aborts it, then removes it.

    The deletion of one that has ended would drop the data that an undo needs. So it holds for the very version that was
    checked. Raises Problem: Conflict from the switch on (CancelNotPossible).
    """
    with translated():
        for attempt in range(ATTEMPTS):
            live = await _live(client, entry)
            found = control(Resource(live))
            if found.deleting and not found.ended:
                return
            if found.cancel_refusal:
                raise Conflict("CancelNotPossible", found.cancel_refusal)
            version = live["metadata"]["resourceVersion"]
            try:
                await client.delete(ROLLBACKS, entry.namespace, entry.name, uid=entry.uid, version=version)
            except errors.Conflict:  # the operator has written the status
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return


async def _live(client: Client, entry: RollbackEntry) -> Object:
    live = await client.get(ROLLBACKS, entry.namespace, entry.name)
    if live is None or live["metadata"]["uid"] != entry.uid:
        raise NotFound("NotFound", "The rollback was deleted.")
    return live
