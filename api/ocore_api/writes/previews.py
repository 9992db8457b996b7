"""Previews of rollbacks: Rollbacks with dryRun. The operator removes them after their end."""

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
#: Previews of one environment that have not ended, at most: each is a Job.
MOST = 3


async def start(client: Client, cache: Cache, request: rollbacks.Request, subject: str, key: str | None) -> Resource:
    """Creates the preview in the namespace of the target, or finds the one that the same key has created before.

    Raises Problem where the snapshot is not complete (SnapshotNotComplete), too many previews run
    (TooManyPreviews), or the target's namespace may not restore the snapshot; IdempotencyKeyReused.
    """
    identity, target = keys.identity("Preview", subject, request.environment.id, key), request.target
    wanted = Creation(ROLLBACKS, target.namespace, identity.name(target.name), subject, request.body)
    found = await earlier(client, cache, wanted) if identity.keyed else None
    if found is not None:
        return found
    if sum(preview.status in OPEN for preview in cache.served.of(PreviewEntry, target.id)) >= MOST:
        raise Problem("TooManyPreviews", f"{MOST} previews for this environment have not ended. Wait for one of them.")
    spec = {**await rollbacks.restored(client, request), "dryRun": True, "timeoutSeconds": TIMEOUT, "notAfter": NEVER}
    return await create(client, cache, wanted, spec, {ANNOTATION_TEMPORARY: "true"})
