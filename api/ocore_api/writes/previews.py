"""Previews of rollbacks: Rollbacks with dryRun. The operator removes them after their end."""

from collections.abc import Iterator

from ocore_api.auth import Principal
from ocore_api.cache import Cache, PreviewEntry
from ocore_api.errors import Problem
from ocore_api.views.values import Resource
from ocore_api.writes import keys, rollbacks
from ocore_api.writes.client import Client
from ocore_api.writes.creation import OPEN, Creation, create, earlier
from ocore_crds.naming import ANNOTATION_TEMPORARY
from ocore_crds.resources.preview import NEVER
from ocore_kube.types import ROLLBACKS

#: Seconds for the operator to end a preview.
TIMEOUT = 300
#: Previews that have not ended, at most, of one environment and of one caller: each is a Job.
MOST, MOST_OF_CALLER = 3, 5


async def start(
    client: Client, cache: Cache, request: rollbacks.Request, caller: Principal, key: str | None
) -> Resource:
    """Creates the preview in the namespace of the target, or finds the one that the same key has created before.

    Raises Problem where the snapshot is not complete (SnapshotNotComplete), too many previews run
    (TooManyPreviews), or the target's namespace may not restore the snapshot; IdempotencyKeyReused.
    """
    identity, target = keys.identity("Preview", caller.subject, request.environment.id, key), request.target
    wanted = Creation(ROLLBACKS, target.namespace, identity.name(target.name), caller.subject, request.body)
    found = await earlier(client, cache, wanted) if identity.keyed else None
    if found is not None:
        return found
    if sum(preview.status in OPEN for preview in cache.served.of(PreviewEntry, target.id)) >= MOST:
        raise Problem("TooManyPreviews", f"{MOST} previews for this environment have not ended. Wait for one of them.")
    if sum(preview.status in OPEN for preview in _of_caller(cache, caller)) >= MOST_OF_CALLER:
        text = f"{MOST_OF_CALLER} previews of this caller have not ended. End one of them, or wait."
        raise Problem("TooManyPreviews", text)
    spec = {**await rollbacks.restored(client, request), "dryRun": True, "timeoutSeconds": TIMEOUT, "notAfter": NEVER}
    return await create(client, cache, wanted, spec, {ANNOTATION_TEMPORARY: "true"})


def _of_caller(cache: Cache, caller: Principal) -> Iterator[PreviewEntry]:
    """Anyone may write any name into a Rollback: only those of environments that the caller may see count."""
    for preview in cache.served.previews():
        if preview.requested_by == caller.subject and caller.may_see(preview.project_id, preview.environment_id):
            yield preview


async def end(client: Client, entry: PreviewEntry) -> None:
    """Deletes the preview: the operator stops its Job. It counts until it is removed."""
    await client.delete(ROLLBACKS, entry.namespace, entry.name, uid=entry.uid)
